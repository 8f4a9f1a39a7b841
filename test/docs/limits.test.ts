import { describe, expect, it } from 'vitest'
import { MAX_USER_LENGTH } from '../../src/auth/claims.js'
import { MAX_TOKEN_BYTES } from '../../src/auth/jwt-verifier.js'
import { IDEMPOTENCY_MS } from '../../src/broker/broker.js'
import { MAX_CHANNEL_NAME_BYTES } from '../../src/channel/channel-name.js'
import { MAX_DELIVERY_DELAY_MS } from '../../src/config/namespaces.js'
import { MAX_LISTED_CHANNELS } from '../../src/node/survey-answers.js'
import { MAX_REASON_BYTES } from '../../src/protocol/closes.js'
import { ERRORS } from '../../src/protocol/errors.js'
import { MAX_QUEUED_COMMANDS } from '../../src/session/command-queue.js'
import { codesIn, Page } from '../support/page.js'
import { shown, shownDefault } from '../support/shown.js'
import { constantOf } from '../support/source-constants.js'

const page = new Page('docs/limits.md')
const TABLES = ['connections', 'messages', 'api', 'channels', 'node']

const { bytes, milliseconds, count } = shown
const api = (name: string) => constantOf('src/http/api-schemas.ts', name)
const keys = (name: string) => constantOf('src/auth/remote-keys.ts', name)
const commands = (name: string) => constantOf('src/session/command-runner.ts', name)
const buffered = (name: string) => constantOf('src/hub/publication-buffer.ts', name)
const delayed = (name: string) => constantOf('src/hub/fan-out.ts', name)
const publishing = (name: string) => constantOf('src/redis/relay-queue.ts', name)
const oversize = bytes(constantOf('src/compose.ts', 'OVERSIZE_MARGIN_BYTES'))
const historySize = count(constantOf('src/config/namespaces.ts', 'MAX_HISTORY_SIZE'))

/** The bounds without a setting, by what they bound: the numbers of their rows, in order. */
const FIXED: Readonly<Record<string, readonly string[]>> = {
  'request headers that arrive in pieces': [
    bytes(constantOf('src/transport/uws/load-uws.ts', 'MAX_HEADER_BYTES')),
  ],
  token: [bytes(MAX_TOKEN_BYTES)],
  'user in a token': [count(MAX_USER_LENGTH)],
  "bytes of an issuer's JWK Set": [bytes(keys('MAX_SET_BYTES'))],
  'keys of a JWK Set': [count(keys('MAX_KEYS'))],
  'joins and leaves of a connection that are being written to the cluster': [
    count(constantOf('src/compose.ts', 'PRESENCE_CHANGES_PER_CHANNEL')),
  ],
  'commands in a frame': [count(commands('MAX_RUNNING_COMMANDS') + MAX_QUEUED_COMMANDS)],
  'bytes of a frame of commands': [bytes(MAX_TOKEN_BYTES + 1_024), oversize],
  'overlapping commands of a connection': [count(commands('MAX_RUNNING_COMMANDS'))],
  'waiting commands of a connection': [count(MAX_QUEUED_COMMANDS)],
  'refused `connect` commands of a connection': [count(commands('MAX_REFUSED_CONNECTS'))],
  'other refused commands in a row, without `rpc`, error 100 and `temporary` ones': [
    count(commands('MAX_SPARE_ERRORS')),
  ],
  body: [bytes(constantOf('src/http/server-api.ts', 'BODY_MARGIN_BYTES'))],
  'channels of a broadcast': [count(api('MAX_BROADCAST_CHANNELS'))],
  'commands of a batch': [count(api('MAX_BATCH_COMMANDS'))],
  'whitelist of a disconnect': [count(api('MAX_WHITELIST'))],
  'time of a batch': [milliseconds(constantOf('src/http/api-batch.ts', 'MAX_BATCH_MS'))],
  'tags of a publication': [count(api('MAX_TAGS'))],
  'bytes of an id, a key, a tag, a pattern': [count(api('MAX_TEXT_BYTES'))],
  'bytes of a user': [count(api('MAX_USER_BYTES'))],
  'bytes of the reason of a disconnect': [count(MAX_REASON_BYTES)],
  'channels that a node lists': [count(MAX_LISTED_CHANNELS)],
  'bytes of a history answer': [bytes(constantOf('src/http/api-methods.ts', 'MAX_HISTORY_BYTES'))],
  'bytes of a channel name': [count(MAX_CHANNEL_NAME_BYTES)],
  'clients in a `presence` answer': [count(constantOf('src/hub/channels.ts', 'MAX_LISTED_CLIENTS'))],
  'publications kept of a channel': [historySize],
  'bytes that an SDK client recovers or reads at once': ['half'],
  'publications while a subscriber reads history': [count(buffered('MAX_PUBLICATIONS'))],
  'bytes of these': [bytes(buffered('MAX_BYTES')), bytes(delayed('MAX_DELAYED_LENGTH'))],
  'leaves during an outage of Redis that a node sends after it': [
    count(constantOf('src/presence/redis-presence-store.ts', 'MAX_UNREPORTED_LEAVES')),
  ],
  'time that an idempotency key counts': [milliseconds(IDEMPOTENCY_MS)],
  'idempotency keys without Redis': [count(constantOf('src/broker/memory-idempotency.ts', 'MAX_RESULTS'))],
  'streams in memory, without Redis': [count(constantOf('src/broker/memory-streams.ts', 'MAX_STREAMS'))],
  'publications that wait to be [delivered together](delivery.md#deliveries-that-wait)': [
    count(delayed('MAX_DELAYED')),
  ],
  'time between deliveries that a namespace may ask for': [milliseconds(MAX_DELIVERY_DELAY_MS)],
  'time that a publication waits for Redis': [
    String(publishing('ENTRY_DEADLINE_MS') / 1_000),
    `${(publishing('ENTRY_DEADLINE_MS') + publishing('DEADLINE_CHECK_MS')) / 1_000} s`,
  ],
  'close codes of clients with a label of their own': [
    count(constantOf('src/metrics/metrics.ts', 'MAX_CLIENT_CLOSE_CODES')),
  ],
}

const rows = TABLES.flatMap((table) => page.rows(table))

describe('the page about limits', () => {
  it('has the default of every bound with a setting', () => {
    for (const { line, cells } of rows) {
      const [name] = codesIn(cells[1] ?? '')
      if (name !== undefined) expect(cells[2], page.at(line)).toBe(shownDefault(name))
    }
  })

  it('has the number of the code for every other bound', () => {
    const fixed = rows.filter(({ cells }) => cells[1] === '')
    expect(new Set(fixed.map(({ cells }) => cells[0]))).toEqual(new Set(Object.keys(FIXED)))
    const seen = new Map<string, number>()
    for (const { line, cells } of fixed) {
      const [what = '', , limit = ''] = cells
      const numbers = FIXED[what] ?? []
      const before = seen.get(what) ?? 0
      seen.set(what, before + 1)
      // Rows with the same words have one number each.
      const isShared = fixed.filter((one) => one.cells[0] === what).length > 1
      for (const number of isShared ? numbers.slice(before, before + 1) : numbers) {
        expect(limit, page.at(line)).toMatch(new RegExp(`(?<![\\d,.])${number}(?!\\d|,\\d)`))
      }
    }
  })

  it('has the overheads and margins of the code', () => {
    const rowOf = (what: string) => rows.find(({ cells }) => cells[0]?.startsWith(what))?.cells.join(' ')
    const overhead = constantOf('src/redis/relay-batch.ts', 'ENTRY_OVERHEAD_BYTES')
    const withStorage = overhead + constantOf('src/redis/relay-batch.ts', 'STORAGE_OVERHEAD_BYTES')
    expect(rowOf('bytes that wait for Redis'), page.path).toContain(`${overhead} bytes`)
    expect(rowOf('bytes that wait for Redis'), page.path).toContain(`or ${count(withStorage)} with`)
    expect(rowOf('message of a raw client'), page.path).toContain(`from ${oversize} above`)
  })

  it('names only existing metrics and errors', () => {
    const metrics = new Page('docs/operations.md')
      .rows('metrics')
      .flatMap(({ cells: [name = ''] }) => codesIn(name))
    const codes = Object.values(ERRORS).map(({ code }) => code)
    for (const { line, cells } of rows) {
      for (const code of codesIn(cells[4] ?? '')) {
        expect(metrics, page.at(line)).toContain(/^\w+/.exec(code)?.[0])
        const error = /^(?:command_errors|api_requests)_total\{code="(\d+)"\}$/.exec(code)?.[1]
        if (error !== undefined) expect(codes, page.at(line)).toContain(Number(error))
      }
    }
  })
})
