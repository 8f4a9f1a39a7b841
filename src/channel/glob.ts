/** Whether a name matches a pattern in which `*` stands for any characters and `?` for one. Linear in the name for each star. */
export function matchesGlob(pattern: string, name: string): boolean {
  let at = 0
  let star = -1
  let afterStar = 0
  let index = 0
  while (index < name.length) {
    if (pattern[at] === '*') {
      star = at++
      afterStar = index
    } else if (at < pattern.length && (pattern[at] === '?' || pattern[at] === name[index])) {
      at++
      index++
    } else if (star >= 0) {
      // The last star takes one character more.
      at = star + 1
      index = ++afterStar
    } else {
      return false
    }
  }
  while (pattern[at] === '*') at++
  return at === pattern.length
}
