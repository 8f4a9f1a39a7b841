import { z } from 'zod'
import { toBrokerError } from '../broker/redis-broker-error.js'
import { MAX_REASON_BYTES } from '../protocol/closes.js'
import { type Entry, plainEntry } from '../redis/envelope.js'
import type { Keys } from '../redis/keys.js'
import type { RedisRelay } from '../redis/redis-relay.js'
import { LEASE_MS, type PeerMessage, type Peers } from './peers.js'
import type { DeadNodes } from './presence-keeper.js'

const addressee = z.object({
  user: z.string(),
  client: z.string().optional(),
  session: z.string().optional(),
})
/** What a close frame can hold: the library takes anything. */
const close = z.object({
  code: z.int().min(3000).max(4999),
  reason: z.string().refine((reason) => Buffer.byteLength(reason) <= MAX_REASON_BYTES),
})
const subscription = z.object({
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
        to: addressee,
        channel: z.string(),
        options: subscription,
      }),
      z.object({ about: z.literal('unsubscribe'), to: addressee, channel: z.string() }),
      z.object({
        about: z.literal('disconnect'),
        to: addressee,
        close,
        whitelist: z.array(z.string()),
      }),
      z.object({ about: z.literal('message'), to: addressee, data: z.string() }),
      z.object({ about: z.literal('refresh'), to: addressee, expiresAtMs: z.number().optional() }),
    ]),
  }),
  z.object({ type: z.literal('answer'), id: z.string(), from: z.string(), answer: z.unknown() }),
])

/** Nodes that know each other through Redis: a lease each, a Redis channel each, and one for all. */
export class RedisPeers implements Peers, DeadNodes {
  /** An announcement that was not answered may have found the lease gone. */
  private isUnsure = false

  constructor(
    private readonly node: string,
    private readonly relay: RedisRelay,
    private readonly keys: Keys,
    private readonly ignored: () => void,
  ) {}

  async start(handler: (message: PeerMessage) => void): Promise<void> {
    const listener = (entries: readonly Entry[]) => {
      for (const { payload } of entries) {
        const message = parse(payload)
        if (message === undefined) this.ignored()
        else handler(message)
      }
    }
    const names = [this.keys.allNodes(), this.keys.oneNode(this.node)]
    await Promise.all(names.map((name) => this.relay.subscribe(name, listener))).catch(toBrokerError)
  }

  async announce(): Promise<boolean> {
    const wasUnsure = this.isUnsure
    this.isUnsure = true
    const [lease] = await this.run((redis) =>
      Promise.all([
        redis.set(this.keys.lease(this.node), '1', 'PX', LEASE_MS, 'GET'),
        redis.sadd(this.keys.members(), this.node),
      ]),
    )
    this.isUnsure = false
    return wasUnsure || lease === null
  }

  alive(): Promise<readonly string[]> {
    return this.membersWhere((hasLease) => hasLease)
  }

  dead(): Promise<readonly string[]> {
    return this.membersWhere((hasLease) => !hasLease)
  }

  async forget(node: string): Promise<void> {
    await this.run((redis) => redis.srem(this.keys.members(), node))
  }

  async sendToAll(message: PeerMessage): Promise<void> {
    await this.relay.publish(this.keys.allNodes(), toEntry(message)).catch(toBrokerError)
  }

  async sendTo(node: string, message: PeerMessage): Promise<void> {
    await this.relay.publish(this.keys.oneNode(node), toEntry(message)).catch(toBrokerError)
  }

  async leave(): Promise<void> {
    await this.run((redis) =>
      Promise.all([redis.del(this.keys.lease(this.node)), redis.srem(this.keys.members(), this.node)]),
    )
  }

  reconnect(): void {
    this.relay.reconnect()
  }

  private membersWhere(isWanted: (hasLease: boolean) => boolean): Promise<readonly string[]> {
    return this.run(async (redis) => {
      const members = await redis.smembers(this.keys.members())
      if (members.length === 0) return []
      const leases = await redis.mget(members.map((member) => this.keys.lease(member)))
      return members.filter((_, index) => isWanted(leases[index] !== null))
    })
  }

  private run<T>(commands: Parameters<typeof this.relay.run<T>>[0]): Promise<T> {
    return this.relay.run(commands).catch(toBrokerError)
  }
}

function toEntry(message: PeerMessage): Entry {
  const payload = Buffer.from(JSON.stringify(message))
  return plainEntry({ kind: 'control', client: undefined, timeMs: Date.now(), payload })
}

/** Undefined for what no node of ours would have sent. */
function parse(payload: Uint8Array): PeerMessage | undefined {
  try {
    return peerMessage.parse(JSON.parse(Buffer.from(payload).toString()))
  } catch {
    return undefined
  }
}
