import type { DeadNodes } from '../presence/presence-keeper.js'
import type { Keys } from '../redis/keys.js'
import type { RedisLink } from '../redis/redis-link.js'
import type { RedisLinks } from '../redis/redis-links.js'
import { LEASE_MS, type Membership } from './peers.js'

/** The nodes that are alive as far as one Redis knows: each has a lease in it, which is a key that expires. */
export class RedisMembership implements Membership, DeadNodes {
  /** Whether the last announcement was not answered: it may have renewed a lease that had expired. */
  private isUnconfirmed = false

  constructor(
    protected readonly node: string,
    protected readonly links: RedisLinks,
    protected readonly keys: Keys,
  ) {}

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

  async leave(): Promise<void> {
    await this.link.run('membership', (redis) =>
      Promise.all([redis.del(this.keys.lease(this.node)), redis.srem(this.keys.knownNodes(), this.node)]),
    )
  }

  /** The link to the server of all that concerns nodes. */
  protected get link(): RedisLink {
    return this.links.linkFor(this.keys.knownNodes())
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
