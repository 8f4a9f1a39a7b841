import { describe, expect, it } from 'vitest'
import { matchesGlob } from '../../src/channel/glob.js'

describe('a pattern', () => {
  it.each([
    ['*', ''],
    ['*', 'anything'],
    ['', ''],
    ['news', 'news'],
    ['news:*', 'news:'],
    ['news:*', 'news:sport'],
    ['*:sport', 'news:sport'],
    ['n*s*t', 'news:sport'],
    ['n?ws', 'news'],
    ['???', 'abc'],
    ['*?', 'a'],
    ['?*?', 'ab'],
    ['**', ''],
    ['***a***', 'bab'],
    ['a*a', 'aa'],
    ['*aab', 'aaaab'],
    ['*', '*'],
    ['a[b]+(c)', 'a[b]+(c)'],
  ])('%j matches %j', (pattern, name) => expect(matchesGlob(pattern, name)).toBe(true))

  it.each([
    ['', 'a'],
    ['a', ''],
    ['?', ''],
    ['?', 'ab'],
    ['news', 'News'],
    ['news', 'news2'],
    ['news:*', 'news'],
    ['a*a', 'a'],
    ['*b', 'ba'],
    ['a?*', 'a'],
    ['a.c', 'abc'],
    ['[ab]', 'a'],
  ])('%j does not match %j', (pattern, name) => expect(matchesGlob(pattern, name)).toBe(false))

  it('is matched promptly, however many stars it has', () => {
    const name = 'a'.repeat(255)
    const patterns = [
      `${'*a'.repeat(127)}b`,
      `${'a*'.repeat(126)}?b`,
      `${'*'.repeat(254)}b`,
      `*${'a'.repeat(253)}b`,
    ]
    // Backtracking over every star would take longer than the universe is old.
    for (const pattern of patterns) expect(matchesGlob(pattern, name)).toBe(false)
  })

  it('agrees with a regular expression on every short pattern and name', () => {
    const words = (letters: string, length: number): string[] =>
      length === 0
        ? ['']
        : words(letters, length - 1).flatMap((word) => [word, ...[...letters].map((one) => word + one)])
    const names = [...new Set(words('ab', 4))]
    for (const pattern of new Set(words('ab*?', 4))) {
      const expression = new RegExp(`^${pattern.replaceAll('*', '.*').replaceAll('?', '.')}$`)
      const expected = names.filter((name) => expression.test(name))
      expect(
        names.filter((name) => matchesGlob(pattern, name)),
        pattern,
      ).toEqual(expected)
    }
  })
})
