import { z } from 'zod'
import { MAX_REASON_BYTES } from '../protocol/closes.js'
import type { Keys } from '../redis/keys.js'
import type { RedisLinks } from '../redis/redis-links.js'
import { type ControlEvent, decodeMessage, type RelayEvent } from '../redis/relay-message.js'
import type { PeerMessage, Peers } from './peers.js'
import { RedisMembership } from './redis-membership.js'

const connectionSelector = z.object({
  user: z.string(),
  client: z.string().optional(),
  session: z.string().optional(),
})
/** Bounds of a close frame, which the WebSocket library does not check. */
const closeFrame = z.object({
  code: z.int().min(3000).max(4999),
  reason: z.string().refine((reason) => Buffer.byteLength(reason) <= MAX_REASON_BYTES),
})
const serverSubscription = z.object({
  info: z.string().optional(),
  data: z.string().optional(),
  expiresAtMs: z.number().optional(),
  recoverSince: z.object({ epoch: z.string(), offset: z.number() }).optional(),
})

const peerMessage: z.ZodType<PeerMessage> = z.discriminatedUnion('type', [
  z.object({ type: z.literal('probe'), sentAtMs: z.number() }),
  z.object({
    type: z.literal('question'),
    id: z.string(),
    from: z.string(),
    ask: z.discriminatedUnion('about', [
      z.object({ about: z.literal('info') }),
      z.object({ about: z.literal('channels'), pattern: z.string() }),
      z.object({
        about: z.literal('subscribe'),
        to: connectionSelector,
        channel: z.string(),
        options: serverSubscription,
      }),
      z.object({ about: z.literal('unsubscribe'), to: connectionSelector, channel: z.string() }),
      z.object({
        about: z.literal('disconnect'),
        to: connectionSelector,
        close: closeFrame,
        whitelist: z.array(z.string()),
      }),
      z.object({ about: z.literal('message'), to: connectionSelector, data: z.string() }),
      z.object({ about: z.literal('refresh'), to: connectionSelector, expiresAtMs: z.number().optional() }),
    ]),
  }),
  z.object({ type: z.literal('answer'), id: z.string(), from: z.string(), answer: z.unknown() }),
])

/**
 * Nodes that find each other through Redis: each has a Redis channel for messages to it, and all share one more. Where
 * there are several Redis, messages go through the first.
 */
export class RedisPeers extends RedisMembership implements Peers {
  constructor(
    node: string,
    links: RedisLinks,
    keys: Keys,
    /** Called for each message that is ignored as malformed. */
    private readonly onMalformed: () => void,
  ) {
    super(node, links, keys)
  }

  async start(handler: (message: PeerMessage) => void): Promise<void> {
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
function parsePeerMessage(event: RelayEvent): PeerMessage | undefined {
  if (event.type !== 'control') return undefined
  try {
    return peerMessage.parse(JSON.parse(Buffer.from(event.payload).toString()))
  } catch {
    return undefined
  }
}
