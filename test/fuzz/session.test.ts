import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FanfareProcess } from '../../deploy/local/fanfare-process.js'
import { RedisServer } from '../../deploy/local/redis-server.js'
import { API_KEY, callApi } from '../support/api.js'
import { eventually } from '../support/metric.js'
import { RawClient } from '../support/raw-client.js'
import { frames, HMAC_SECRET, Run, STATIC_TOKEN } from './session-lines.js'
import { type Line, MAX_CHANNELS, NAMESPACES, SessionModel, USER } from './session-model.js'

const RUNS = 500
/** Id of the last command: once it is answered, all earlier ones are. */
const LAST_ID = 2 ** 32 - 1

const SETTINGS = {
  FANFARE_AUTH_TOKENS: `${USER}=${STATIC_TOKEN}`,
  FANFARE_AUTH_HMAC_SECRET: HMAC_SECRET,
  FANFARE_API_KEY: API_KEY,
  FANFARE_MAX_CHANNELS_PER_CONNECTION: String(MAX_CHANNELS),
  FANFARE_NAMESPACES: JSON.stringify(NAMESPACES),
}

interface Publication {
  data: { n: number }
}

interface Subscribed {
  was_recovering?: boolean
  recovered?: boolean
  publications?: Publication[]
}

/** An object that the server sent. */
interface Received {
  id?: number
  error?: { code: number }
  push?: { channel: string; pub?: Publication }
  connect?: { client: string; subs?: Record<string, Subscribed> }
  subscribe?: Subscribed
  presence?: { presence: Record<string, object> }
  presence_stats?: { num_clients: number }
  history?: { publications?: Publication[]; offset?: number }
}

/** The objects that a client received, in the form of the model. */
class ReceivedSummary {
  readonly answers: string[] = []
  /** Numbers of the publications by channel. */
  readonly publications = new Map<string, number[]>()
  private client = ''

  constructor(received: readonly Received[]) {
    for (const one of received) {
      if (one.push !== undefined) this.pushed(one.push)
      else this.answers.push(`${one.id} ${this.summaryOf(one)}`)
    }
  }

  private pushed({ channel, pub }: NonNullable<Received['push']>): void {
    const numbers = this.publications.get(channel) ?? []
    this.publications.set(channel, pub === undefined ? numbers : [...numbers, pub.data.n])
  }

  private summaryOf({
    error,
    connect,
    subscribe,
    presence,
    presence_stats: stats,
    history,
    ...rest
  }: Received) {
    if (error !== undefined) return `error ${error.code}`
    if (connect !== undefined) {
      this.client = connect.client
      const subs = Object.entries(connect.subs ?? {})
      return ['connect', ...subs.map(([channel, one]) => `${channel} ${recoveryOf(one)}`).sort()].join(', ')
    }
    if (subscribe !== undefined) return `subscribe ${recoveryOf(subscribe)}`
    if (presence !== undefined) return `presence ${this.client in presence.presence ? 'seen' : 'not seen'}`
    if (stats !== undefined) return `presence_stats ${stats.num_clients > 0 ? 'seen' : 'not seen'}`
    if (history !== undefined) {
      const { publications, offset = 0 } = history
      return `history ${JSON.stringify({ numbers: numbersOf(publications), offset })}`
    }
    return Object.keys(rest)
      .filter((name) => name !== 'id')
      .join(' ')
  }
}

function recoveryOf({ was_recovering: isRecovering, recovered, publications }: Subscribed): string {
  if (isRecovering !== true) return 'new'
  return recovered === true ? `recovered ${JSON.stringify(numbersOf(publications))}` : 'not recovered'
}

function numbersOf(publications: readonly Publication[] = []): number[] {
  return publications.map(({ data }) => data.n)
}

describe.each(['memory', 'Redis'])('a session of the Centrifuge protocol, with %s', (relay) => {
  let redis: RedisServer | undefined
  let node: FanfareProcess
  let runs = 0

  beforeAll(async () => {
    if (relay === 'Redis') redis = await RedisServer.start()
    node = await FanfareProcess.start({
      ...SETTINGS,
      ...(redis !== undefined && { FANFARE_REDIS_URL: redis.url }),
    })
  })
  afterAll(async () => {
    await node.child.stop()
    await redis?.remove()
  })

  async function prepareRun(): Promise<Run> {
    const number = ++runs
    const channels = Run.storedChannels(number)
    const histories = await Promise.all(
      channels.map((channel) => callApi(node, 'history', { channel, limit: 0 })),
    )
    const epochs = new Map(
      channels.map((channel, index) => [channel, String(histories[index]?.body.result?.['epoch'])]),
    )
    return new Run(number, (channel) => epochs.get(channel) ?? 'none')
  }

  async function check(sent: readonly (readonly Line[])[]): Promise<void> {
    const run = await prepareRun()
    const model = new SessionModel()
    const client = await RawClient.connect(`${node.wsUrl}/connection/websocket`)
    const received: Received[] = []
    let watch: () => void = () => undefined
    client.socket.on('message', (frame: Buffer) => {
      const texts = frame.toString().split('\n')
      received.push(...texts.map((text) => JSON.parse(text) as Received))
      watch()
    })
    const until = (isSo: () => boolean) =>
      new Promise<void>((resolve) => {
        watch = () => isSo() && resolve()
        watch()
        void client.closed.then(() => resolve())
      })
    const send = (frame: readonly Line[]) => {
      for (const one of frame) model.receive(one)
      client.send(frame.map((one) => run.write(one)).join('\n'))
    }
    let isSentAfterClose = false
    for (const frame of sent) {
      isSentAfterClose = model.closeCodes !== undefined
      send(frame.map((one) => run.own(one)))
    }
    // A client that is not connected gets no other answer.
    const last: Line = { name: 'malformed', command: 'connect', request: 'last', id: LAST_ID }
    if (model.closeCodes === undefined) send([model.isConnected ? { name: 'ping', id: LAST_ID } : last])
    await until(() => received.some(({ id }) => id === LAST_ID))

    const expected = [...model.answers].sort()
    if (model.closeCodes !== undefined) {
      // A frame that arrives after the close makes the node's system reset the connection, which may overtake the close frame.
      const codes = isSentAfterClose ? [...model.closeCodes, 1006] : model.closeCodes
      expect(codes).toContain((await client.closed).code)
      const left = [...expected]
      for (const answer of new ReceivedSummary(received).answers) {
        expect(left).toContain(answer)
        left.splice(left.indexOf(answer), 1)
      }
      return
    }
    expect(new ReceivedSummary(received).answers.sort()).toEqual(expected)
    const due = [...model.published].map(([channel, all]) => ({ channel, all }))
    const isDelivered = () => {
      const { publications } = new ReceivedSummary(received)
      return due.every(({ channel, all }) =>
        all.every(({ n, isRequired }) => !isRequired || publications.get(channel)?.includes(n)),
      )
    }
    await until(isDelivered)
    client.close()
    await client.closed
    expect(isDelivered()).toBe(true)
    for (const [channel, numbers] of new ReceivedSummary(received).publications) {
      expect(model.everSubscribed).toContain(channel)
      // Once each, in order, and nothing that was not published.
      const published = (model.published.get(channel) ?? []).map(({ n }) => n)
      expect(numbers).toEqual(published.filter((n) => numbers.includes(n)))
    }
  }

  it('handles each command as documented, whatever it is sent', async () => {
    await fc.assert(fc.asyncProperty(frames, check), { numRuns: RUNS })
    expect(node.child.output).not.toMatch(/"level":"(error|fatal)"/)
    expect((await fetch(`${node.internalUrl}/health`)).status).toBe(200)
    await eventually(async () => {
      const lines = (await node.metrics()).split('\n')
      return [
        'fanfare_connections{protocol="centrifuge"} 0',
        'fanfare_subscriptions{namespace=""} 0',
        'fanfare_subscriptions{namespace="stored"} 0',
      ].every((line) => lines.includes(line))
    }, 'no connection or subscription is left')
    for (let run = 1; run <= runs; run++) {
      const { body } = await callApi(node, 'presence_stats', { channel: `a-${run}` })
      expect(body.result).toEqual({ num_clients: 0, num_users: 0 })
    }
  })
})

describe('a session of the Centrifuge protocol', () => {
  let node: FanfareProcess

  beforeAll(async () => {
    node = await FanfareProcess.start(SETTINGS)
  })
  afterAll(() => node.child.stop())

  it.each<[string, string | Buffer, number]>([
    ['another command than connect first', '{"id":1,"ping":{}}', 3501],
    ['a binary frame', Buffer.from('{"id":1,"connect":{"token":"the-static-token"}}'), 3506],
    ['a pong without a ping', '{"id":1,"connect":{"token":"the-static-token"}}\n{}', 3501],
    ['lists of a depth of 100,000', `${'['.repeat(100_000)}${']'.repeat(100_000)}`, 3501],
    [
      'connect twice',
      '{"id":1,"connect":{"token":"the-static-token"}}\n{"id":1,"connect":{"token":"the-static-token"}}',
      3501,
    ],
  ])('ends after %s', async (_what, frame, code) => {
    const client = await RawClient.connect(`${node.wsUrl}/connection/websocket`)
    client.send(frame)
    expect((await client.closed).code).toBe(code)
  })

  it('answers data of a depth of 30,000 with a result or an error, and stays open', async () => {
    const client = await RawClient.connect(`${node.wsUrl}/connection/websocket`)
    client.send('{"id":1,"connect":{"token":"the-static-token"}}')
    await client.nextText()
    client.send(`{"id":2,"publish":{"channel":"a","data":${'['.repeat(30_000)}${']'.repeat(30_000)}}}`)
    expect(JSON.parse(await client.nextText())).toMatchObject({ id: 2 })
    client.send('{"id":3,"ping":{}}')
    expect(JSON.parse(await client.nextText())).toEqual({ id: 3, ping: {} })
    client.close()
  })

  it('answers 3,000 commands in one frame, and ends with 3013 after too many', async () => {
    const client = await RawClient.connect(`${node.wsUrl}/connection/websocket`)
    const frame = (count: number, command: object) =>
      Array.from({ length: count }, (_, index) => JSON.stringify({ id: index + 2, ...command })).join('\n')
    client.send(`{"id":1,"connect":{"token":"the-static-token"}}\n${frame(3_000, { ping: {} })}`)
    const texts = await client.nextTexts(3_001)
    expect(JSON.parse(texts.at(-1) ?? '')).toEqual({ id: 3_001, ping: {} })
    client.send(frame(10_000, { presence: { channel: 'a' } }))
    expect((await client.closed).code).toBe(3013)
  })
})
