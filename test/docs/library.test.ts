import { readFileSync } from 'node:fs'
import { afterEach, describe, expect, it } from 'vitest'
import { HOOK_NAMES } from '../../src/session/hooks.js'
import { packageVersion } from '../../src/version.js'
import { cleanUp } from '../support/clean-ups.js'
import { asAlice, startNode } from '../support/node-in-application.js'
import { codesIn, Page, TOP } from '../support/page.js'

afterEach(cleanUp)

const page = new Page('docs/library.md')

describe('the page about the library', () => {
  it('has the application that is tested', () => {
    const application = readFileSync(`${TOP}test/support/application.ts`, 'utf8')
    expect(page.code('application'), page.where('application')).toBe(application)
  })

  it('has the hooks that the code has, and uses all of them', () => {
    const documented = page.rows('hooks').map(({ cells: [hook = ''] }) => codesIn(hook)[0])
    expect(documented, page.where('hooks')).toEqual(HOOK_NAMES)
    for (const hook of HOOK_NAMES) {
      expect(page.code('application'), page.where('application')).toMatch(new RegExp(`^ {4}${hook}: `, 'm'))
    }
  })

  it('has the members that a node has', async () => {
    const node = await startNode({ hooks: asAlice })
    const documented = page.rows('node').flatMap(({ cells: [members = ''] }) => codesIn(members))
    const names = documented.map((member) => /^\w+/.exec(member)?.[0])
    expect(names, page.where('node')).toEqual(Object.keys(node))
  })

  it('names the package as npm packs it', () => {
    const { name } = JSON.parse(readFileSync(`${TOP}package.json`, 'utf8')) as { name: string }
    const packed = [...page.text.matchAll(/\b[a-z]+-[\d.]+\.tgz/g)].map(([file]) => file)
    expect(new Set(packed), page.path).toEqual(new Set([`${name}-${packageVersion()}.tgz`]))
  })
})
