import { Redis } from 'ioredis'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { RedisServer } from '../../deploy/local/redis-server.js'
import type { PeerMessage, ReceivedMessage } from '../../src/node/peers.js'
import type { ChannelEvent } from '../../src/protocol/publication.js'
import { decodeStreamEntry, encodeMessage } from '../../src/redis/relay-message.js'
import { EventLog } from '../support/event-log.js'
import { relayEntry } from '../support/relay-entry.js'
import { clientInfo, publication, retryWhileRefused } from './publications.js'
import { RedisNode } from './redis-node.js'

const TIME = { publishedAtMs: 1_800_000_000_000.5 }
const INFO = { client: 'c-1', user: 'ann', connInfo: '{"a":1}', chanInfo: '[]' }
const EPOCH = 'a354c47ddb47'
const ann = { user: 'ann', client: 'c-1', session: 's' }

/** What nodes of version 0.1.0 published to the Redis channel of a channel, in hexadecimal, and what they meant. */
const CHANNEL_MESSAGES_0_1_0: readonly (readonly [string, readonly ChannelEvent[]])[] = [
  ['01000000000f0100427a3185c500080068656c6c6f', [publication('hello', TIME)]],
  [
    '0100000000110103427a3185c500080003632d3100ff0a',
    [publication(Buffer.of(0, 255, 10), { ...TIME, isBinary: true, excludedClient: 'c-1' })],
  ],
  [
    `010000000078010c427a3185c5000800000000637b22696e666f223a7b22636c69656e74223a22632d31222c2275736572223a22616e6e22
     2c22636f6e6e496e666f223a227b5c22615c223a317d222c226368616e496e666f223a225b5d227d2c2274616773223a7b226b696e64223a
     22c3856e227d7d7b2261223a317d`,
    [publication('{"a":1}', { ...TIME, isJson: true, info: INFO, tags: { kind: 'Ån' } })],
  ],
  [
    `01000000004e0202427a3185c500000003632d317b2275736572223a22616e6e222c22636f6e6e496e666f223a227b5c22615c223a317d22
     2c226368616e496e666f223a225b5d222c226f6e6c696e65223a327d`,
    [{ type: 'join', info: INFO, online: 2 }],
  ],
  [
    '01000000001c0302427a3185c500000003632d317b2275736572223a22616e6e227d',
    [{ type: 'leave', info: clientInfo('c-1', 'ann'), online: undefined }],
  ],
  [
    `010c6133353463343764646234373ff00000000000000000000b0100427a3185c50008003100000025010a427a3185c500080003632d3100
     0000127b2274616773223a7b2261223a2262227d7d32`,
    [
      publication('1', { ...TIME, position: { epoch: EPOCH, offset: 1 } }),
      publication('2', {
        ...TIME,
        position: { epoch: EPOCH, offset: 2 },
        excludedClient: 'c-1',
        tags: { a: 'b' },
      }),
    ],
  ],
]

const asked = (ask: Extract<PeerMessage, { type: 'question' }>['ask']): PeerMessage => {
  return { type: 'question', id: 'q', from: 'one', ask }
}

/** The same of what they sent to a node. */
const NODE_MESSAGES_0_1_0: readonly (readonly [string, PeerMessage])[] = [
  ['{"type":"probe","sentAtMs":1234.5}', { type: 'probe', sentAtMs: 1_234.5 }],
  ['{"type":"question","id":"q","from":"one","ask":{"about":"info"}}', asked({ about: 'info' })],
  [
    '{"type":"question","id":"q","from":"one","ask":{"about":"channels","pattern":"*"}}',
    asked({ about: 'channels', pattern: '*' }),
  ],
  [
    '{"type":"question","id":"q","from":"one","ask":{"about":"subscribe","to":{"user":"ann","client":"c-1","session":"s"},"channel":"room","options":{"info":"{}","data":"1","expiresAtMs":1,"recoverSince":{"epoch":"e","offset":7}}}}',
    asked({
      about: 'subscribe',
      to: ann,
      channel: 'room',
      options: { info: '{}', data: '1', expiresAtMs: 1, recoverSince: { epoch: 'e', offset: 7 } },
    }),
  ],
  [
    '{"type":"question","id":"q","from":"one","ask":{"about":"unsubscribe","to":{"user":"ann"},"channel":"room"}}',
    asked({ about: 'unsubscribe', to: { user: 'ann' }, channel: 'room' }),
  ],
  [
    '{"type":"question","id":"q","from":"one","ask":{"about":"disconnect","to":{"user":"ann","client":"c-1","session":"s"},"close":{"code":3000,"reason":"bye"},"whitelist":["c-2"]}}',
    asked({ about: 'disconnect', to: ann, close: { code: 3000, reason: 'bye' }, whitelist: ['c-2'] }),
  ],
  [
    '{"type":"question","id":"q","from":"one","ask":{"about":"message","to":{"user":"ann","client":"c-1","session":"s"},"data":"{}"}}',
    asked({ about: 'message', to: ann, data: '{}' }),
  ],
  [
    '{"type":"question","id":"q","from":"one","ask":{"about":"refresh","to":{"user":"ann","client":"c-1","session":"s"},"expiresAtMs":0}}',
    asked({ about: 'refresh', to: ann, expiresAtMs: 0 }),
  ],
  [
    '{"type":"answer","id":"q","from":"one","answer":{"touched":1,"refusal":{"code":103,"message":"no","temporary":false}}}',
    {
      type: 'answer',
      id: 'q',
      from: 'one',
      answer: { touched: 1, refusal: { code: 103, message: 'no', temporary: false } },
    },
  ],
]

function bytesOf(hex: string): Buffer {
  return Buffer.from(hex.replaceAll(/\s/g, ''), 'hex')
}

/** A control message as version 0.1.0 writes it. */
function controlMessage(json: string): Buffer {
  const header = bytesOf('0100000000000400427a3185c5000000')
  header.writeUInt32BE(header.length - 6 + Buffer.byteLength(json), 2)
  return Buffer.concat([header, Buffer.from(json)])
}

let redis: RedisServer
let admin: Redis
let node: RedisNode
let inbox: EventLog<ReceivedMessage>

beforeAll(async () => {
  redis = await RedisServer.start()
  admin = new Redis(redis.url)
})
afterAll(async () => {
  admin.disconnect()
  await redis.remove()
})
beforeEach(async ({ onTestFinished }) => {
  const one = new RedisNode(redis.url)
  onTestFinished(() => one.close())
  node = one
  inbox = new EventLog()
  await node.broker.subscribe('room')
  await node.peers.start(inbox.add)
})

/** Sends what a test says to the node, then a probe. Resolves with what the node received before the probe. */
async function receivedOf(...messages: readonly Buffer[]): Promise<readonly ReceivedMessage[]> {
  for (const bytes of messages) await admin.publish(node.keys.nodeMessages('node'), bytes)
  await node.peers.sendTo('node', { type: 'probe', sentAtMs: -1 })
  await inbox.find((message) => message.type === 'probe' && message.sentAtMs === -1)
  return inbox.items.slice(0, -1)
}

describe('a node understands version 0.1.0', () => {
  it('in channels', async () => {
    for (const [hex] of CHANNEL_MESSAGES_0_1_0) {
      await admin.publish(node.keys.channelEvents('room'), bytesOf(hex))
    }
    const expected = CHANNEL_MESSAGES_0_1_0.flatMap(([, events]) => events)
    expect(await node.recorder.until('room', expected.length)).toEqual(expected)
    expect(await node.malformedCount()).toBe(0)
  })

  it('in streams', () => {
    const entry = bytesOf(
      '00000025010a427a3185c500080003632d31000000127b2274616773223a7b2261223a2262227d7d32',
    )
    const position = { epoch: EPOCH, offset: 2 }
    const decoded = decodeStreamEntry(entry, position)
    const expected = publication('2', { ...TIME, position, excludedClient: 'c-1', tags: { a: 'b' } })
    expect({ ...decoded, data: Buffer.from(decoded.data) }).toEqual(expected)
  })

  it('in messages between nodes', async () => {
    const messages = NODE_MESSAGES_0_1_0.map(([json]) => controlMessage(json))
    expect(await receivedOf(...messages)).toEqual(NODE_MESSAGES_0_1_0.map(([, message]) => message))
    expect(await node.malformedCount()).toBe(0)
  })
})

describe('a message of a later version', () => {
  const disconnect = {
    about: 'disconnect',
    to: { user: 'ann' },
    close: { code: 3000, reason: 'bye' },
    whitelist: [],
  }
  const question = (ask: unknown) =>
    controlMessage(JSON.stringify({ type: 'question', id: 'q', from: 'one', ask }))
  const unknown = { type: 'unknown' } as const
  const unknownQuestion = { type: 'unknown-question', id: 'q', from: 'one' } as const

  it.each([
    ['of an unknown type', controlMessage('{"type":"news","id":"q"}'), unknown],
    ['in an entry of an unknown kind', encodeMessage([relayEntry({ kind: 5, payload: '' })]), unknown],
    ['with a question about something unknown', question({ about: 'secrets', of: 1 }), unknownQuestion],
    ['with a question of another form', question({ about: 'channels', patterns: ['*'] }), unknownQuestion],
    ['with one more restriction', question({ ...disconnect, since: 1 }), unknownQuestion],
    [
      'with one more restriction of the connections',
      question({ ...disconnect, to: { user: 'ann', device: 'd' } }),
      unknownQuestion,
    ],
  ])('%s is received as such', async (_, bytes, expected) => {
    expect(await receivedOf(bytes)).toEqual([expected])
    expect(await node.malformedCount()).toBe(0)
  })

  it('is received without what this version does not know beside a question, in a probe or an answer', async () => {
    const messages: PeerMessage[] = [
      { type: 'question', id: 'q', from: 'one', ask: { about: 'info' } },
      { type: 'probe', sentAtMs: 1 },
      { type: 'answer', id: 'q', from: 'one', answer: { touched: 1, more: 1 } },
    ]
    const later = messages.map((message) => controlMessage(JSON.stringify({ ...message, more: 1 })))
    expect(await receivedOf(...later)).toEqual(messages)
  })
})

it('a client whose presence a later version has written with one more member is listed', async () => {
  const entry = JSON.stringify({ node: 'node', generation: 1, user: 'ann', more: { a: 1 } })
  await retryWhileRefused(() => node.peers.announce())
  await admin.hset(node.keys.presenceClients('room'), 'c-1', entry)
  expect(await node.presence.list('room', 10)).toEqual(new Map([['c-1', clientInfo('c-1', 'ann')]]))
})
