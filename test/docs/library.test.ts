import { readFileSync } from 'node:fs'
import { afterEach, describe, expect, it } from 'vitest'
import { HOOK_NAMES } from '../../src/session/hooks.js'
import { packageVersion } from '../../src/version.js'
import { cleanUp } from '../support/clean-ups.js'
import { asAlice, startNode } from '../support/node-in-application.js'
import { codesIn, Page } from '../support/page.js'
import { ROOT } from '../support/repository.js'

afterEach(cleanUp)

const page = new Page('docs/library.md')

describe('the page about the library', () => {
  it('has the tested application', () => {
    const application = readFileSync(`${ROOT}test/support/application.ts`, 'utf8')
    expect(page.code('application'), page.where('application')).toBe(application)
  })

  it('has the hooks of the code, and uses all of them', () => {
    const documented = page.rows('hooks').map(({ cells: [hook = ''] }) => codesIn(hook)[0])
    expect(documented, page.where('hooks')).toEqual(HOOK_NAMES)
    for (const hook of HOOK_NAMES) {
      expect(page.code('application'), page.where('application')).toMatch(new RegExp(`^ {4}${hook}: `, 'm'))
    }
  })

  it('has the properties and methods of a node', async () => {
    const node = await startNode({ hooks: asAlice })
    const documented = page.rows('node').flatMap(({ cells: [codes = ''] }) => codesIn(codes))
    const documentedNames = documented.map((code) => /^\w+/.exec(code)?.[0])
    expect(documentedNames, page.where('node')).toEqual(Object.keys(node))
  })

  it('names the package as npm packs it', () => {
    const { name } = JSON.parse(readFileSync(`${ROOT}package.json`, 'utf8')) as { name: string }
    const packed = [...page.text.matchAll(/\b[a-z]+-[\d.]+\.tgz/g)].map(([file]) => file)
    expect(new Set(packed), page.path).toEqual(new Set([`${name}-${packageVersion()}.tgz`]))
  })
})
