import { createHash } from 'node:crypto'

/** Puts what concerns all nodes, or one of them, into one slot of a Redis Cluster. */
const NODES_TAG = '{nodes}'

export interface KeyOptions {
  /** Number of the database. */
  readonly database?: number
  /** Whether they are for a Redis Cluster, in which keys and Redis channels belong to slots. */
  readonly isCluster?: boolean
}

/** Every key and Redis channel that Fanfare uses, all below one prefix, so that an ACL can name them. */
export class Keys {
  readonly isCluster: boolean
  /** Begins the keys of nodes. */
  private readonly nodesPrefix: string
  /** Begins the Redis channels of channels. Databases of one Redis share its channels, so their number is in the names. */
  private readonly channelEventsPrefix: string
  /** Begins the Redis channels of nodes. */
  private readonly nodesChannelPrefix: string

  constructor(
    private readonly prefix: string,
    { database = 0, isCluster = false }: KeyOptions = {},
  ) {
    const channelPrefix = database === 0 ? prefix : `${prefix}:db${database}`
    this.isCluster = isCluster
    this.nodesPrefix = isCluster ? `${prefix}:${NODES_TAG}` : prefix
    this.channelEventsPrefix = `${channelPrefix}:channel:`
    this.nodesChannelPrefix = isCluster ? `${channelPrefix}:${NODES_TAG}` : channelPrefix
  }

  /** Redis channel that carries a channel's events. */
  channelEvents(channel: string): string {
    return `${this.channelEventsPrefix}${this.isCluster ? hashTag(channel) : channel}`
  }

  /** The channel whose events a Redis channel carries; undefined where it carries those of none. */
  channelOf(redisChannel: string): string | undefined {
    if (!redisChannel.startsWith(this.channelEventsPrefix)) return undefined
    const name = redisChannel.slice(this.channelEventsPrefix.length)
    return this.isCluster ? name.slice(HASH_TAG_START.length, -HASH_TAG_END.length) : name
  }

  /** Stream of the publications that a channel keeps, by offset. */
  stream(channel: string): string {
    return `${this.prefix}:stream:${hashTag(channel)}`
  }

  /** Hash of a channel's epoch, top offset and the era in which it was given. */
  streamMeta(channel: string): string {
    return `${this.prefix}:stream-meta:${hashTag(channel)}`
  }

  /** List: result of the publication with this idempotency key, which is hashed since it may be any text of any length. */
  idempotency(channel: string, key: string): string {
    const digest = createHash('sha256').update(key).digest('base64url')
    return `${this.prefix}:idempotency:${hashTag(channel)}:${digest}`
  }

  /** Redis channel that all nodes subscribe to. */
  allNodesMessages(): string {
    return `${this.nodesChannelPrefix}:nodes`
  }

  /** Redis channel that one node subscribes to. */
  nodeMessages(node: string): string {
    return `${this.nodesChannelPrefix}:node:${node}`
  }

  /**
   * Hash of the era: the time in which one master gives all offsets of streams, with that master's identity. A Redis
   * Cluster has none.
   */
  era(): string {
    return `${this.prefix}:era`
  }

  /** Set of the ids of nodes that have announced themselves. */
  knownNodes(): string {
    return `${this.nodesPrefix}:members`
  }

  /** A node's lease: exists while the node is alive. */
  lease(node: string): string {
    return `${this.nodesPrefix}:lease:${node}`
  }

  /** Hash of the clients in a channel: client → node, user and infos. */
  presenceClients(channel: string): string {
    return `${this.prefix}:presence:clients:${hashTag(channel)}`
  }

  /** Hash of the users in a channel: user → number of its clients. */
  presenceUsers(channel: string): string {
    return `${this.prefix}:presence:users:${hashTag(channel)}`
  }

  /** Set of a node's clients in a channel. */
  presenceOfNode(node: string, channel: string): string {
    return `${this.prefix}:presence:node:${node}:${hashTag(channel)}`
  }

  /** Set of the channels that a node has clients in, and perhaps of some more. */
  presenceChannels(node: string): string {
    return `${this.nodesPrefix}:presence:channels:${node}`
  }

  /** Lock: exists while another node sweeps the presence of this dead node. */
  sweepLock(node: string): string {
    return `${this.nodesPrefix}:sweep:${node}`
  }

  /** Mark that a sweep of this node began, for the node to find should it come back. */
  swept(node: string): string {
    return `${this.nodesPrefix}:swept:${node}`
  }
}

const HASH_TAG_START = '{:'
const HASH_TAG_END = '}'

/**
 * Puts the keys of a channel into one slot of a Redis Cluster, so that scripts may use them together. One Redis has the tag
 * too, so that its keys could be moved into a Redis Cluster. An empty tag does not count as one, and the tag of a channel
 * whose name begins with a closing brace would be empty without the colon.
 */
function hashTag(channel: string): string {
  return `${HASH_TAG_START}${channel}${HASH_TAG_END}`
}
