import { z } from 'zod'
import type { DeadNodes } from '../presence/presence-keeper.js'
import { MAX_REASON_BYTES } from '../protocol/closes.js'
import type { Keys } from '../redis/keys.js'
import type { RedisLink } from '../redis/redis-link.js'
import { type ControlEvent, decodeMessage, type RelayEvent } from '../redis/relay-message.js'
import { LEASE_MS, type PeerMessage, type Peers } from './peers.js'

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
 * Nodes that find each other through Redis. Each has a lease, which is a key that expires, and a Redis channel for
 * messages to it; all share one more.
 */
export class RedisPeers implements Peers, DeadNodes {
  /** Whether the last announcement was not answered: it may have renewed a lease that had expired. */
  private isUnconfirmed = false

  constructor(
    private readonly node: string,
    private readonly link: RedisLink,
    private readonly keys: Keys,
    /** Called for each message that is ignored as malformed. */
    private readonly onMalformed: () => void,
  ) {}

  async start(handler: (message: PeerMessage) => void): Promise<void> {
    const listener = (bytes: Buffer) => {
      for (const event of decodeMessage(bytes)) {
        const message = parsePeerMessage(event)
        if (message === undefined) this.onMalformed()
        else handler(message)
      }
    }
    const names = [this.keys.allNodesMessages(), this.keys.nodeMessages(this.node)]
    await Promise.all(names.map((name) => this.link.subscriber.subscribe(name, listener)))
  }

  async announce(): Promise<boolean> {
    const wasUnconfirmed = this.isUnconfirmed
    this.isUnconfirmed = true
    const [lease] = await this.link.run('announce', (redis) =>
      Promise.all([
        redis.set(this.keys.lease(this.node), '1', 'PX', LEASE_MS, 'GET'),
        redis.sadd(this.keys.knownNodes(), this.node),
      ]),
    )
    this.isUnconfirmed = false
    return wasUnconfirmed || lease === null
  }

  aliveNodes(): Promise<readonly string[]> {
    return this.nodesWhere((hasLease) => hasLease)
  }

  deadNodes(): Promise<readonly string[]> {
    return this.nodesWhere((hasLease) => !hasLease)
  }

  async forget(node: string): Promise<void> {
    await this.link.run('membership', (redis) => redis.srem(this.keys.knownNodes(), node))
  }

  async sendToAll(message: PeerMessage): Promise<void> {
    await this.link.queue.relay(this.keys.allNodesMessages(), toControlEvent(message))
  }

  async sendTo(node: string, message: PeerMessage): Promise<void> {
    await this.link.queue.relay(this.keys.nodeMessages(node), toControlEvent(message))
  }

  async leave(): Promise<void> {
    await this.link.run('membership', (redis) =>
      Promise.all([redis.del(this.keys.lease(this.node)), redis.srem(this.keys.knownNodes(), this.node)]),
    )
  }

  reconnect(): void {
    this.link.reconnect()
  }

  private nodesWhere(isWanted: (hasLease: boolean) => boolean): Promise<readonly string[]> {
    return this.link.run('membership', async (redis) => {
      const nodes = await redis.smembers(this.keys.knownNodes())
      if (nodes.length === 0) return []
      const leases = await redis.mget(nodes.map((node) => this.keys.lease(node)))
      return nodes.filter((_, index) => isWanted(leases[index] !== null))
    })
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
