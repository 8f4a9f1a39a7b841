import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FanfareProcess } from '../support/fanfare-process.js'
import { LogOf } from '../support/log-of.js'
import { RawClient } from '../support/raw-client.js'

const channel = fc.constantFrom(
  'a',
  'b',
  'kept:a',
  '$kept:b',
  'nowhere:a',
  '',
  'ü',
  '__proto__',
  'kept:a#1,2',
)
const anything = fc.jsonValue({ maxDepth: 3 })
/** Requests that are right most of the time, so that a sequence gets somewhere. */
const requests: Record<string, fc.Arbitrary<unknown>> = {
  connect: fc.record(
    { token: fc.constantFrom('secret-a', 'secret-a', 'secret-a', '', 'wrong'), data: anything },
    { requiredKeys: ['token'] },
  ),
  subscribe: fc.record(
    {
      channel,
      recover: fc.boolean(),
      epoch: fc.constantFrom('', 'x'),
      offset: fc.nat(),
      recoverable: fc.boolean(),
      join_leave: fc.boolean(),
      token: fc.constantFrom('', 'x'),
    },
    { requiredKeys: ['channel'] },
  ),
  unsubscribe: fc.record({ channel }),
  publish: fc.record({ channel, data: anything }),
  presence: fc.record({ channel }),
  presence_stats: fc.record({ channel }),
  history: fc.record({ channel, limit: fc.integer({ min: -2, max: 5 }), reverse: fc.boolean() }),
  ping: fc.constant({}),
  rpc: fc.record({ method: fc.string(), data: anything }),
  refresh: fc.record({ token: fc.constantFrom('secret-a', 'wrong', '') }),
  sub_refresh: fc.record({ channel, token: fc.string() }),
}
const rightCommand = fc
  .constantFrom(...Object.keys(requests))
  .chain((name) => (requests[name] ?? anything).map((request) => [name, request] as const))
const wrongCommand = fc.tuple(fc.constantFrom(...Object.keys(requests), 'shutdown', '__proto__'), anything)
const command = fc.oneof({ weight: 6, arbitrary: rightCommand }, { weight: 1, arbitrary: wrongCommand })
const line = fc.oneof(
  { weight: 30, arbitrary: command.map(([name, request]) => ({ name, request })) },
  {
    weight: 1,
    arbitrary: fc.constantFrom('{}', '[]', 'x', '{"id":1}', '{"id":0,"ping":{}}').map((text) => ({ text })),
  },
)
type Line = { name: string; request: unknown } | { text: string }

describe('a session of the Centrifuge protocol', () => {
  let node: FanfareProcess

  beforeAll(async () => {
    node = await FanfareProcess.start({
      FANFARE_AUTH_TOKENS: 'alice=secret-a',
      FANFARE_NAMESPACES: JSON.stringify([
        { name: '', allow_subscribe_for_client: true, allow_publish_for_client: true, presence: true },
        {
          name: 'kept',
          allow_subscribe_for_client: true,
          allow_publish_for_subscriber: true,
          allow_history_for_client: true,
          history_size: 10,
          history_ttl: '1m',
        },
      ]),
    })
  })
  afterAll(() => node.child.stop())

  it('answers every command once, or ends with a code of the protocol, whatever it is sent', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(line, { minLength: 1, maxLength: 8 }), { minLength: 1, maxLength: 5 }),
        async (frames) => {
          const client = await RawClient.connect(`${node.wsUrl}/connection/websocket`)
          const replies = new LogOf<{ id: number }>()
          client.socket.on('message', (data: Buffer) => {
            for (const text of data.toString().split('\n')) {
              const object = JSON.parse(text) as { id?: number }
              if (object.id !== undefined) replies.add({ id: object.id })
            }
          })
          let id = 0
          const asked: number[] = []
          const first: Line = { name: 'connect', request: { token: 'secret-a' } }
          for (const frame of [[first], ...frames]) {
            const texts = frame.map((one) => {
              if ('text' in one) return one.text
              asked.push(++id)
              return `{"id":${id},${JSON.stringify(one.name)}:${JSON.stringify(one.request) ?? 'null'}}`
            })
            client.send(texts.join('\n'))
          }
          // Whatever is answered is answered before this; a second connect ends what has not ended.
          client.send(`{"id":${id + 1},"connect":{}}`)
          const { code } = await client.closed
          expect(code).toBeGreaterThanOrEqual(3_000)
          expect(code).toBeLessThan(4_000)
          const answered = replies.items.map((reply) => reply.id)
          expect(new Set(answered).size).toBe(answered.length)
          expect(asked).toEqual(expect.arrayContaining(answered))
        },
      ),
      { numRuns: 300 },
    )
    expect(node.child.output).not.toMatch(/"level":"(error|fatal)"/)
    expect((await fetch(`${node.internalUrl}/health`)).status).toBe(200)
  })

  it.each<[string, string | Buffer, number]>([
    ['nothing but connect first', '{"id":1,"ping":{}}', 3501],
    ['a binary frame', Buffer.from('{"id":1,"connect":{"token":"secret-a"}}'), 3506],
    ['a pong nobody asked for', '{"id":1,"connect":{"token":"secret-a"}}\n{}', 3501],
    ['lists of a depth of 100,000', `${'['.repeat(100_000)}${']'.repeat(100_000)}`, 3501],
    [
      'connect twice',
      '{"id":1,"connect":{"token":"secret-a"}}\n{"id":1,"connect":{"token":"secret-a"}}',
      3501,
    ],
  ])('ends after %s', async (_what, frame, code) => {
    const client = await RawClient.connect(`${node.wsUrl}/connection/websocket`)
    client.send(frame)
    expect((await client.closed).code).toBe(code)
  })

  it('answers data of a depth of 30,000 with an error or takes it, and goes on', async () => {
    const client = await RawClient.connect(`${node.wsUrl}/connection/websocket`)
    client.send('{"id":1,"connect":{"token":"secret-a"}}')
    await client.nextText()
    client.send(`{"id":2,"publish":{"channel":"a","data":${'['.repeat(30_000)}${']'.repeat(30_000)}}}`)
    expect(JSON.parse(await client.nextText())).toMatchObject({ id: 2 })
    client.send('{"id":3,"ping":{}}')
    expect(JSON.parse(await client.nextText())).toEqual({ id: 3, ping: {} })
    client.close()
  })

  it('answers 3,000 commands in one frame, or ends for being asked too much', async () => {
    const client = await RawClient.connect(`${node.wsUrl}/connection/websocket`)
    const frame = (count: number, command: object) =>
      Array.from({ length: count }, (_, index) => JSON.stringify({ id: index + 2, ...command })).join('\n')
    client.send(`{"id":1,"connect":{"token":"secret-a"}}\n${frame(3_000, { ping: {} })}`)
    const texts = await client.nextTexts(3_001)
    expect(JSON.parse(texts.at(-1) ?? '')).toEqual({ id: 3_001, ping: {} })
    client.send(frame(10_000, { presence: { channel: 'a' } }))
    expect((await client.closed).code).toBe(3013)
  })
})
