import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join, normalize } from 'node:path'
import { describe, expect, it } from 'vitest'
import { GENERATED_SECTIONS } from '../support/generated-sections.js'
import { anchorsOf, linksOf } from '../support/markdown-links.js'
import { docsPaths, Page, pagePaths } from '../support/page.js'
import { ROOT } from '../support/repository.js'

const MAX_README_LINES = 200
/** Files in this folder that check more than one page. */
const GENERAL_CHECKS = ['structure.test.ts']

/** The file that checks a page: `docs/settings.md` has `test/docs/settings.test.ts`. */
function checkOf(path: string): string {
  return `test/docs/${basename(path, '.md').toLowerCase()}.test.ts`
}

function read(path: string): string {
  return readFileSync(`${ROOT}${path}`, 'utf8')
}

/** The target of a relative link as a path from the root of the repository. */
function resolved(page: Page, target: string): string {
  return target === '' ? page.path : normalize(join(dirname(page.path), target))
}

/** The problems of the links of a page, a line each. */
function brokenLinks(page: Page): string[] {
  return linksOf(page).flatMap(({ target, line }) => {
    if (/^[a-z]+:/.test(target)) return []
    const [file = '', anchor] = target.split('#')
    const path = resolved(page, file)
    const where = `${page.at(line)}: ${target}`
    if (path.startsWith('..') || !existsSync(`${ROOT}${path}`)) return [`${where} does not exist`]
    if (anchor === undefined) return []
    return anchorsOf(new Page(path)).has(anchor) ? [] : [`${where}: ${path} has no heading for #${anchor}`]
  })
}

/** The paths from the root of the repository that a page mentions and that do not exist, a line each. */
function missingPaths(page: Page): string[] {
  return page.lines.flatMap((text, index) =>
    [...text.matchAll(/(?<![\w/.-])(?:src|test|load|deploy|docs)\/[\w./-]*/g)]
      .map(([path]) => path.replace(/\.$/, ''))
      .filter((path) => !existsSync(`${ROOT}${path}`))
      .map((path) => `${page.at(index + 1)}: ${path} does not exist`),
  )
}

/** The pages that can be reached from a page through links. */
function reachable(from: string): ReadonlySet<string> {
  const found = new Set([from])
  for (const path of found) {
    const page = new Page(path)
    for (const { target } of linksOf(page)) {
      const next = resolved(page, target.split('#')[0] ?? '')
      if (pagePaths().includes(next)) found.add(next)
    }
  }
  return found
}

describe('the documentation', () => {
  it('has a short README', () => {
    expect(new Page('README.md').text.trimEnd().split('\n').length).toBeLessThanOrEqual(MAX_README_LINES)
  })

  it('can be reached from the README, page by page', () => {
    const reached = reachable('README.md')
    expect(pagePaths().filter((path) => !reached.has(path))).toEqual([])
  })

  it.each(pagePaths())('has no dead link in %s', (path) => {
    expect(brokenLinks(new Page(path))).toEqual([])
  })

  it.each(pagePaths())('names only existing files in %s', (path) => {
    expect(missingPaths(new Page(path))).toEqual([])
  })

  it.each(docsPaths())('begins %s with the question that it answers', (path) => {
    const page = new Page(path)
    expect(page.lines[0], page.at(1)).toMatch(/^# \S/)
    expect(page.lines[2], page.at(3)).toMatch(/^This page answers: .*\?$/)
  })

  it.each(['README.md', ...docsPaths()])('checks every marked section of %s', (path) => {
    const check = checkOf(path)
    expect(existsSync(`${ROOT}${check}`), `${path} needs a check: ${check}`).toBe(true)
    const code = read(check)
    expect(code, `${check} must read ${path}`).toContain(`'${path}'`)
    const generated = GENERATED_SECTIONS.filter((one) => one.path === path).map(({ section }) => section)
    const unchecked = new Page(path).sections
      .filter((section) => !generated.includes(section) && !code.includes(`'${section}'`))
      .map((section) => `${path}: the section ${section} is not in ${check}`)
    expect(unchecked).toEqual([])
  })

  it('has no check of a missing page', () => {
    const wanted = ['README.md', ...docsPaths()].map((path) => basename(checkOf(path)))
    const files = readdirSync(`${ROOT}test/docs`).filter((name) => name.endsWith('.test.ts'))
    expect(files.filter((name) => !wanted.includes(name) && !GENERAL_CHECKS.includes(name))).toEqual([])
  })

  it.each(GENERATED_SECTIONS)(
    'has in $path the generated section $section (npm run docs writes it)',
    ({ path, section, content }) => {
      const page = new Page(path)
      expect(page.section(section), page.where(section)).toBe(content())
    },
  )
})

describe('the check of links', () => {
  it('gives headings the anchors of GitHub', () => {
    const page = new Page(
      'x.md',
      '# A `code`, and [a link](y.md)\n## Same\n## Same\n```\n# not a heading\n```\n### Und über_alles – 2.0?\n',
    )
    expect([...anchorsOf(page)]).toEqual(['a-code-and-a-link', 'same', 'same-1', 'und-über_alles--20'])
  })

  it('reports the missing files, anchors and paths with their lines', () => {
    const page = new Page(
      'docs/x.md',
      '[a](gone.md)\n\n[b](../README.md#gone) `[c](shown.md)` [d](https://example.com)\nsrc/gone.ts and src/main.ts.',
    )
    expect(brokenLinks(page)).toEqual([
      'docs/x.md:1: gone.md does not exist',
      'docs/x.md:3: ../README.md#gone: README.md has no heading for #gone',
    ])
    expect(missingPaths(page)).toEqual(['docs/x.md:4: src/gone.ts does not exist'])
  })
})
