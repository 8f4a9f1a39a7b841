import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { CLOSES, DISCONNECTS, UNSUBSCRIBES } from '../../src/protocol/closes.js'
import { ERRORS } from '../../src/protocol/errors.js'
import { Page, TOP } from '../support/page.js'

const page = new Page('docs/errors-and-closes.md')
const NEVER = 'never by itself'

/** The first columns of a table. */
function columns(section: string, count: number): readonly string[][] {
  return page.rows(section).map(({ cells }) => cells.slice(0, count))
}

/** The code of a node, without the tables of closes themselves. */
function sources(): string {
  const files = readdirSync(`${TOP}src`, { recursive: true, encoding: 'utf8' })
  return files
    .filter((path) => path.endsWith('.ts') && path !== 'protocol/closes.ts')
    .map((path) => readFileSync(`${TOP}src/${path}`, 'utf8'))
    .join('\n')
}

/** The rows of a table that say that no node sends the code. */
function neverSent(section: string): readonly number[] {
  return page
    .rows(section)
    .filter(({ cells }) => cells.at(-1) === NEVER)
    .map(({ cells }) => Number(cells[0]))
}

describe('the page about errors and closes', () => {
  it('has the errors that the code has', () => {
    expect(columns('errors', 3), page.where('errors')).toEqual(
      Object.values(ERRORS).map(({ code, message, temporary }) => [
        String(code),
        message,
        temporary ? 'yes' : 'no',
      ]),
    )
  })

  it('has the closes of raw connections that the code has, and that of a connection with an expiry', () => {
    const closes = [...Object.values(CLOSES), DISCONNECTS.connectionExpired]
    const expected = closes.map(({ code, reason }) => [String(code), reason])
    expect(columns('closes', 2), page.where('closes')).toEqual(
      expected.toSorted(([a], [b]) => Number(a) - Number(b)),
    )
  })

  it('has the closes of SDK connections that the code has, and tells which of them no node sends', () => {
    expect(columns('disconnects', 3), page.where('disconnects')).toEqual(
      Object.values(DISCONNECTS).map(({ code, reason, reconnect }) => [
        String(code),
        reason,
        reconnect ? 'yes' : 'no',
      ]),
    )
    const text = sources()
    const unused = Object.entries(DISCONNECTS).filter(([name]) => !text.includes(`DISCONNECTS.${name}`))
    expect(neverSent('disconnects'), page.where('disconnects')).toEqual(unused.map(([, { code }]) => code))
  })

  it('has the ends of subscriptions that the code has, and tells which of them no node sends', () => {
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
