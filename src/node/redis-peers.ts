import { z } from 'zod'
import { MAX_REASON_BYTES } from '../protocol/closes.js'
import { type ControlEvent, decodeMessage, type RelayEvent } from '../redis/relay-message.js'
import type { PeerMessage, Peers, ReceivedMessage } from './peers.js'
import { RedisMembership, type RedisMembershipOptions } from './redis-membership.js'

/**
 * Members that this version does not know are refused in what is asked, where they may restrict it: a node that ignored
 * them might close more connections than it was asked to. Elsewhere they are ignored.
 */
const connectionSelector = z.strictObject({
  user: z.string(),
  client: z.string().optional(),
  session: z.string().optional(),
})
/** Bounds of a close frame, which the WebSocket library does not check. */
const closeFrame = z.strictObject({
  code: z.int().min(3000).max(4999),
  reason: z.string().refine((reason) => Buffer.byteLength(reason) <= MAX_REASON_BYTES),
})
const serverSubscription = z.strictObject({
  info: z.string().optional(),
  data: z.string().optional(),
  expiresAtMs: z.number().optional(),
  recoverSince: z.strictObject({ epoch: z.string(), offset: z.number() }).optional(),
})

const question = z.object({ type: z.literal('question'), id: z.string(), from: z.string() })
const peerMessage: z.ZodType<PeerMessage> = z.discriminatedUnion('type', [
  z.object({ type: z.literal('probe'), sentAtMs: z.number() }),
  question.extend({
    ask: z.discriminatedUnion('about', [
      z.strictObject({ about: z.literal('info') }),
      z.strictObject({ about: z.literal('channels'), pattern: z.string() }),
      z.strictObject({
        about: z.literal('subscribe'),
        to: connectionSelector,
        channel: z.string(),
        options: serverSubscription,
      }),
      z.strictObject({ about: z.literal('unsubscribe'), to: connectionSelector, channel: z.string() }),
      z.strictObject({
        about: z.literal('disconnect'),
        to: connectionSelector,
        close: closeFrame,
        whitelist: z.array(z.string()),
      }),
      z.strictObject({ about: z.literal('message'), to: connectionSelector, data: z.string() }),
      z.strictObject({
        about: z.literal('refresh'),
        to: connectionSelector,
        expiresAtMs: z.number().optional(),
      }),
    ]),
  }),
  z.object({
    type: z.literal('answer'),
    id: z.string(),
    from: z.string(),
    answer: z.unknown(),
    refusal: z.string().optional(),
  }),
])
const KNOWN_TYPES: readonly string[] = ['probe', 'question', 'answer'] satisfies PeerMessage['type'][]

/** The first form that fits counts. */
const receivedMessage: z.ZodType<ReceivedMessage> = z.union([
  peerMessage,
  question
    .extend({ ask: z.looseObject({ about: z.string() }) })
    .transform(({ id, from }) => ({ type: 'unknown-question', id, from }) as const),
  z
    .object({ type: z.string().refine((type) => !KNOWN_TYPES.includes(type)) })
    .transform(() => ({ type: 'unknown' }) as const),
])

export interface RedisPeersOptions extends RedisMembershipOptions {
  /** Called for each message that is ignored as malformed. */
  readonly onMalformed: () => void
}

/**
 * Nodes that find each other through Redis: each has a Redis channel for messages to it, and all share one more. Where
 * there are several Redis, messages go through the first.
 */
export class RedisPeers extends RedisMembership implements Peers {
  private readonly onMalformed: () => void

  constructor({ onMalformed, ...options }: RedisPeersOptions) {
    super(options)
    this.onMalformed = onMalformed
  }

  async start(handler: (message: ReceivedMessage) => void): Promise<void> {
    const listener = (bytes: Buffer) => {
      for (const event of decodeMessage(bytes)) {
        const message = parsePeerMessage(event)
        if (message === undefined) this.onMalformed()
        else handler(message)
      }
    }
    const names = [this.keys.allNodesMessages(), this.keys.nodeMessages(this.node)]
    await Promise.all(names.map((name) => this.links.linkFor(name).subscriber.subscribe(name, listener)))
  }

  async sendToAll(message: PeerMessage): Promise<void> {
    await this.relay(this.keys.allNodesMessages(), message)
  }

  async sendTo(node: string, message: PeerMessage): Promise<void> {
    await this.relay(this.keys.nodeMessages(node), message)
  }

  reconnect(): void {
    this.link.reconnect()
  }

  private async relay(redisChannel: string, message: PeerMessage): Promise<void> {
    await this.links.linkFor(redisChannel).queue.relay(redisChannel, toControlEvent(message))
  }
}

function toControlEvent(message: PeerMessage): ControlEvent {
  return { type: 'control', payload: Buffer.from(JSON.stringify(message)) }
}

/** Returns undefined for an event that no node has sent. */
function parsePeerMessage(event: RelayEvent): ReceivedMessage | undefined {
  if (event.type === 'publication' && event.isUnknown) return { type: 'unknown' }
  if (event.type !== 'control') return undefined
  try {
    return receivedMessage.parse(JSON.parse(Buffer.from(event.payload).toString()))
  } catch {
    return undefined
  }
}
