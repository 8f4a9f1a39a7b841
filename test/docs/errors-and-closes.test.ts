import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { CLOSES, DISCONNECTS, UNSUBSCRIBES } from '../../src/protocol/closes.js'
import { ERRORS } from '../../src/protocol/errors.js'
import { Page } from '../support/page.js'
import { ROOT } from '../support/repository.js'

const page = new Page('docs/errors-and-closes.md')
const NEVER = 'never by itself'

/** The first columns of a table. */
function columns(section: string, count: number): readonly string[][] {
  return page.rows(section).map(({ cells }) => cells.slice(0, count))
}

/** The source code without the tables of closes. */
function sources(): string {
  const files = readdirSync(`${ROOT}src`, { recursive: true, encoding: 'utf8' })
  return files
    .filter((path) => path.endsWith('.ts') && path !== 'protocol/closes.ts')
    .map((path) => readFileSync(`${ROOT}src/${path}`, 'utf8'))
    .join('\n')
}

/** The codes of a table that are documented as never sent. */
function neverSent(section: string): readonly number[] {
  return page
    .rows(section)
    .filter(({ cells }) => cells.at(-1) === NEVER)
    .map(({ cells }) => Number(cells[0]))
}

describe('the page about errors and closes', () => {
  it('has the errors of the code', () => {
    expect(columns('errors', 3), page.where('errors')).toEqual(
      Object.values(ERRORS).map(({ code, message, temporary }) => [
        String(code),
        message,
        temporary ? 'yes' : 'no',
      ]),
    )
  })

  it('has the closes of raw connections of the code, and the close of an expired connection', () => {
    const closes = [...Object.values(CLOSES), DISCONNECTS.connectionExpired]
    const expected = closes.map(({ code, reason }) => [String(code), reason])
    expect(columns('closes', 2), page.where('closes')).toEqual(
      expected.toSorted(([a], [b]) => Number(a) - Number(b)),
    )
  })

  it('has the closes of SDK connections of the code, and marks those that no node sends', () => {
    expect(columns('disconnects', 3), page.where('disconnects')).toEqual(
      Object.values(DISCONNECTS).map(({ code, reason }) => [
        String(code),
        reason,
        code < 3500 ? 'yes' : 'no',
      ]),
    )
    const text = sources()
    const unused = Object.entries(DISCONNECTS).filter(([name]) => !text.includes(`DISCONNECTS.${name}`))
    expect(neverSent('disconnects'), page.where('disconnects')).toEqual(unused.map(([, { code }]) => code))
  })

  it('has the unsubscribes of the code, and marks those that no node sends', () => {
    expect(columns('unsubscribes', 3), page.where('unsubscribes')).toEqual(
      Object.values(UNSUBSCRIBES).map(({ code, reason }) => [
        String(code),
        reason,
        code < 2500 ? 'no' : 'yes',
      ]),
    )
    const text = sources()
    const unused = Object.entries(UNSUBSCRIBES).filter(([name]) => !text.includes(`UNSUBSCRIBES.${name}`))
    expect(neverSent('unsubscribes'), page.where('unsubscribes')).toEqual(unused.map(([, { code }]) => code))
  })
})
