import type { Page } from './page.js'

export interface Link {
  readonly target: string
  readonly line: number
}

/** The links of a page, `[text](target)`, without those in code. */
export function linksOf(page: Page): readonly Link[] {
  return page.prose.split('\n').flatMap((text, index) => {
    const visible = text.replace(/`[^`]*`/g, (code) => 'x'.repeat(code.length))
    return [...visible.matchAll(/\]\(([^()\s]+)\)/g)].map(({ 1: target = '' }) => ({
      target,
      line: index + 1,
    }))
  })
}

/** The anchors that GitHub gives to the headings of a page. */
export function anchorsOf(page: Page): ReadonlySet<string> {
  const anchors = new Set<string>()
  for (const [, heading = ''] of page.prose.matchAll(/^#{1,6} +(.+?) *$/gm)) {
    const anchor = anchorOf(heading)
    let name = anchor
    // A second heading of the same words gets a number.
    for (let count = 1; anchors.has(name); count++) name = `${anchor}-${count}`
    anchors.add(name)
  }
  return anchors
}

/** Takes only the text of links, and drops every character but letters, digits, spaces, - and _. */
function anchorOf(heading: string): string {
  return heading
    .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\p{M} _-]/gu, '')
    .replaceAll(' ', '-')
}
