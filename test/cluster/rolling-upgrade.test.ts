import { Redis } from 'ioredis'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { decodeMessage, encodeEntry, encodeMessage } from '../../src/redis/relay-message.js'
import { publication } from '../contract/publications.js'
import { callApi } from '../support/api.js'
import { afterThisTest, cleanUp } from '../support/clean-ups.js'
import { Cluster } from '../support/cluster.js'
import { EventLog } from '../support/event-log.js'
import { eventually, metric } from '../support/metric.js'
import { relayEntry } from '../support/relay-entry.js'

const CHANNEL = 'feed'
const PLAIN = 'plain:feed'
const OPEN = { allow_subscribe_for_client: true }
const NAMESPACES = [
  { name: '', ...OPEN, history_size: 100, history_ttl: '1m', force_recovery: true },
  { name: 'plain', ...OPEN },
]
/** Kinds and a flag that no version has yet. */
const LATER_KIND = 77
const REQUIRED_LATER_KIND = 177
const LATER_FLAG = 64

/** An entry as a later version would write it: with one flag and one member of the extras more. */
function laterPublication(data: string): Buffer {
  const known = publication(data, { isJson: true, tags: { a: 'b' } })
  const entry = encodeEntry(known)
  const extras = '{"tags":{"a":"b"}}'
  const at = entry.indexOf(extras)
  const later = Buffer.from('{"tags":{"a":"b"},"later":{"more":[1]}}')
  const longer = Buffer.concat([entry.subarray(0, at), later, entry.subarray(at + extras.length)])
  longer[5] = (longer[5] ?? 0) | LATER_FLAG
  longer.writeUInt32BE(longer.length - 4, 0)
  longer.writeUInt32BE(later.length, at - 4)
  return longer
}

/** The messages between nodes in a relay message. */
function controlMessages(message: Buffer): unknown[] {
  return decodeMessage(message).map((event) => {
    if (event.type !== 'control') throw new Error(`${event.type} is no message between nodes`)
    return JSON.parse(Buffer.from(event.payload).toString()) as unknown
  })
}

const laterKind = relayEntry({ kind: LATER_KIND, payload: Buffer.of(0, 255, 7) })

describe('nodes beside one of a later version', () => {
  let cluster: Cluster
  let admin: Redis
  /** What the nodes send to the later one. */
  let answers: EventLog<{ id: string; from: string; answer: unknown; refusal?: string }>

  beforeEach(async () => {
    cluster = await Cluster.start({ FANFARE_NAMESPACES: JSON.stringify(NAMESPACES) })
    afterThisTest(() => cluster.stop())
    admin = new Redis(cluster.redis.url)
    const inbox = admin.duplicate()
    afterThisTest(() => {
      admin.disconnect()
      inbox.disconnect()
    })
    answers = new EventLog()
    inbox.on('messageBuffer', (_channel: Buffer, message: Buffer) => {
      for (const answer of controlMessages(message)) answers.add(answer as never)
    })
    await inbox.subscribe('fanfare:node:later')
  })
  afterEach(cleanUp)

  /** Stores entries in the stream and relays them in one message, as the later node does. */
  async function relayStored(...entries: readonly Buffer[]): Promise<void> {
    const [stream, meta] = [`fanfare:stream:{:${CHANNEL}}`, `fanfare:stream-meta:{:${CHANNEL}}`]
    const { epoch = '', offset = '' } = await admin.hgetall(meta)
    const first = Number(offset) + 1
    const header = Buffer.alloc(2 + epoch.length + 8)
    header[0] = 1
    header[1] = epoch.length
    header.write(epoch, 2, 'latin1')
    header.writeDoubleBE(first, 2 + epoch.length)
    const transaction = admin.multi()
    for (const [index, entry] of entries.entries()) transaction.xadd(stream, `${first + index}-0`, 'e', entry)
    transaction.hset(meta, 'offset', first + entries.length - 1)
    transaction.publish(`fanfare:channel:${CHANNEL}`, Buffer.concat([header, ...entries]))
    await transaction.exec()
  }

  function relayControl(redisChannel: string, message: unknown): Promise<number> {
    const entry = relayEntry({ kind: 'control', payload: JSON.stringify(message) })
    return admin.publish(`fanfare:${redisChannel}`, encodeMessage([entry]))
  }

  const publish = (data: unknown, channel = CHANNEL) =>
    callApi(cluster.nodes[1], 'publish', { channel, data })
  const unknown = async (what: string) =>
    metric(await cluster.nodes[0].metrics(), 'fanfare_relay_unknown_total', `{what="${what}"}`)

  it('deliver all that they know of a channel, in order', async () => {
    const sdk = await cluster.sdk(0)
    afterThisTest(() => sdk.close())
    const subscription = await sdk.subscribe(PLAIN)
    const raw = await cluster.open(0, `/ws/${PLAIN}`)
    await publish(1, PLAIN)
    const message = encodeMessage([laterKind, laterPublication('2'), laterKind, laterPublication('3')])
    await admin.publish(`fanfare:channel:${PLAIN}`, message)
    await publish(4, PLAIN)
    expect(await subscription.data(4)).toEqual([1, 2, 3, 4])
    expect(subscription.publications.items[1]?.tags).toEqual({ a: 'b' })
    expect(await raw.nextTexts(4)).toEqual(['1', '2', '3', '4'])
    expect(await unknown('entry')).toBe(2)
    expect(metric(await cluster.nodes[0].metrics(), 'fanfare_relay_malformed_total')).toBe(0)
  })

  it('deliver a stream without a gap, and let clients recover across what they do not know', async () => {
    const here = await cluster.sdk(0)
    const away = await cluster.sdk(0)
    afterThisTest(() => [here, away].forEach((client) => void client.close()))
    const [subscription, absent] = [await here.subscribe(CHANNEL), await away.subscribe(CHANNEL)]
    await publish(1)
    await absent.publications.first(1)
    away.sdk.disconnect()
    await relayStored(laterKind, laterPublication('2'))
    await relayStored(laterKind)
    await publish(3)
    await relayStored(laterKind)
    await publish(4)
    const all = await subscription.publications.first(4)
    expect(all.map(({ data, offset }) => [data as unknown, offset])).toEqual([
      [1, 1],
      [2, 3],
      [3, 5],
      [4, 7],
    ])
    expect(subscription.subscribing.items).toHaveLength(1)
    expect(await unknown('entry')).toBe(3)
    const metrics = await cluster.nodes[0].metrics()
    for (const name of ['relay_gaps_total', 'relay_unrepaired_gaps_total', 'relay_malformed_total'])
      expect(metric(metrics, `fanfare_${name}`), name).toBe(0)

    away.sdk.connect()
    const [, again] = await absent.subscribed.first(2)
    expect(again).toMatchObject({ wasRecovering: true, recovered: true })
    // Before the first publication that it gets, so that it misses none if it disconnects before the last.
    expect(again?.streamPosition?.offset).toBe(2)
    expect(await absent.data(4)).toEqual([1, 2, 3, 4])
    const { body } = await callApi(cluster.nodes[0], 'history', { channel: CHANNEL, limit: -1 })
    expect(body.result?.['publications']).toMatchObject([1, 2, 3, 4].map((data) => ({ data })))
  })

  it('tell subscribers of a stream where it has what they must not miss', async () => {
    const client = await cluster.sdk(0)
    afterThisTest(() => client.close())
    const subscription = await client.subscribe(CHANNEL)
    const raw = await cluster.open(0, `/ws/${CHANNEL}`)
    await publish(1)
    await subscription.publications.first(1)
    await relayStored(relayEntry({ kind: REQUIRED_LATER_KIND, payload: '' }), laterPublication('2'))
    const [, again] = await subscription.subscribed.first(2)
    expect(subscription.subscribing.items[1]?.code).toBe(2500)
    expect(again).toMatchObject({ wasRecovering: true, recovered: false })
    await publish(3)
    expect((await subscription.data(2))[1]).toBe(3)
    expect(await raw.nextTexts(3)).toEqual(['1', '2', '3'])
    expect(await unknown('entry')).toBe(1)
  })

  it('refuse at once what they are asked and do not know, and do nothing of it', async () => {
    const client = await cluster.sdk(0)
    afterThisTest(() => client.close())
    const disconnect = { about: 'disconnect', close: { code: 3000, reason: '' }, whitelist: [] }
    const asks = [
      { about: 'weather', in: 'Wien' },
      { ...disconnect, to: { user: 'tester', device: 'another one' } },
      { ...disconnect, to: { user: 'tester' }, olderThanMs: 60_000 },
    ]
    for (const [index, ask] of asks.entries()) {
      await relayControl('nodes', { type: 'question', id: `q${index}`, from: 'later', ask })
    }
    const all = await answers.first(asks.length * cluster.nodes.length)
    const refused = (id: string) =>
      all.filter((one) => one.id === id && one.answer === null && one.refusal === 'unknown_question')
    for (const index of asks.keys()) {
      expect(new Set(refused(`q${index}`).map(({ from }) => from)).size).toBe(cluster.nodes.length)
    }
    expect(await unknown('question')).toBe(asks.length)
    expect(client.connecting.items).toHaveLength(1)
  })

  it('answer what they know of a later one, and ignore messages of an unknown type', async () => {
    await relayControl('nodes', { type: 'gossip', rumour: 'none' })
    const ask = { about: 'channels', pattern: '*' }
    await relayControl('nodes', { type: 'question', id: 'q', from: 'later', ask, deadlineMs: 100 })
    const all = await answers.first(cluster.nodes.length)
    const answer = { channels: [], isTruncated: false }
    expect(all.map((one) => one.answer)).toEqual(cluster.nodes.map(() => answer))
    await eventually(async () => (await unknown('message')) === 1, 'the message is counted')
  })

  it('ask all others while one answers with more than they know, and one refuses', async () => {
    // The later node announces itself, and is asked like any other.
    await admin.sadd('fanfare:members', 'later')
    await admin.set('fanfare:lease:later', '1', 'PX', 60_000)
    const nodes = admin.duplicate()
    afterThisTest(() => nodes.disconnect())
    nodes.on('messageBuffer', (_channel: Buffer, message: Buffer) => {
      for (const asked of controlMessages(message)) {
        const { id, from, ask } = asked as { id: string; from: string; ask: { about: string } }
        const info = { uid: 'later', name: 'l', version: '9', num_clients: 0, num_channels: 0, uptime: 1 }
        const reply =
          ask.about === 'info'
            ? { answer: { ...info, num_rooms: 7 }, hint: 1 }
            : { answer: null, refusal: 'unknown_question' }
        void relayControl(`node:${from}`, { type: 'answer', id, from: 'later', ...reply })
      }
    })
    await nodes.subscribe('fanfare:nodes')
    const info = await callApi(cluster.nodes[0], 'info', {})
    expect(info.body.result?.['nodes']).toHaveLength(cluster.nodes.length + 1)
    expect(info.body.result).not.toHaveProperty('missing_nodes')
    const channels = await callApi(cluster.nodes[0], 'channels', {})
    expect(channels.body.result).toMatchObject({ channels: {}, missing_nodes: ['later'] })
    await cluster.nodes[0].child.line(/another node refused a question/)
  })
})
