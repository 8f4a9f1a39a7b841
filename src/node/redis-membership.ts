import type { DeadNodes } from '../presence/presence-keeper.js'
import type { Keys } from '../redis/keys.js'
import type { RedisLink } from '../redis/redis-link.js'
import type { RedisLinks } from '../redis/redis-links.js'
import { LEASE_MS, type Membership } from './peers.js'

/** The place of a Redis that is the only one. */
const ONLY_ONE = '1/1'

/** Which one of how many Redis this is, by its place in the list of addresses. */
export interface PlaceInList {
  readonly index: number
  readonly count: number
}

export interface RedisMembershipOptions {
  /** Id of this node. */
  readonly node: string
  readonly links: RedisLinks
  readonly keys: Keys
  readonly place?: PlaceInList
}

/**
 * The nodes that are alive as far as one Redis knows: each has a lease in it, which is a key that expires. The lease says
 * which place the Redis has in the list of its node: nodes with other lists would look for channels elsewhere.
 */
export class RedisMembership implements Membership, DeadNodes {
  protected readonly node: string
  protected readonly links: RedisLinks
  protected readonly keys: Keys
  private readonly place: string
  /** Whether the last announcement was not answered: it may have renewed a lease that had expired. */
  private isUnconfirmed = false

  constructor({ node, links, keys, place = { index: 0, count: 1 } }: RedisMembershipOptions) {
    this.node = node
    this.links = links
    this.keys = keys
    this.place = `${place.index + 1}/${place.count}`
  }

  async announce(): Promise<boolean> {
    const wasUnconfirmed = this.isUnconfirmed
    this.isUnconfirmed = true
    const [lease] = await this.link.run('announce', (redis) =>
      Promise.all([
        redis.set(this.keys.lease(this.node), this.place, 'PX', LEASE_MS, 'GET'),
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

  private async nodesWhere(isWanted: (hasLease: boolean) => boolean): Promise<readonly string[]> {
    const { link } = this
    const [nodes, leases] = await link.run('membership', async (redis) => {
      const known = await redis.smembers(this.keys.knownNodes())
      return [known, known.length === 0 ? [] : await redis.mget(known.map((node) => this.keys.lease(node)))]
    })
    this.comparePlaces(link, leases)
    return nodes.filter((_, index) => isWanted((leases[index] ?? null) !== null))
  }

  private comparePlaces({ health }: RedisLink, leases: readonly (string | null)[]): void {
    // Nodes of 0.1.0 know one Redis only, and say nothing of its place.
    const places = leases.map((lease) => (lease === '1' ? ONLY_ONE : lease))
    const other = places.find((place) => place !== null && place !== this.place)
    if (other === undefined || other === null) {
      health.succeeded('compare_lists')
      return
    }
    const message = `this Redis is number ${this.place} here, and number ${other} for another node`
    health.failedFor('compare_lists', 'redis_lists_differ', message)
  }
}
