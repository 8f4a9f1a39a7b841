import { createHash } from 'node:crypto'

/** Every key and Redis channel that Fanfare uses, all below one prefix, so that an ACL can name them. */
export class Keys {
  /** Begins every Redis channel. Databases of one Redis share its channels, so their number is part of the names. */
  private readonly channelPrefix: string

  constructor(
    private readonly prefix: string,
    /** Number of the database. */
    database = 0,
  ) {
    this.channelPrefix = database === 0 ? prefix : `${prefix}:db${database}`
  }

  /** Redis channel that carries a channel's events. */
  channelEvents(channel: string): string {
    return `${this.channelPrefix}:channel:${channel}`
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
    return `${this.channelPrefix}:nodes`
  }

  /** Redis channel that one node subscribes to. */
  nodeMessages(node: string): string {
    return `${this.channelPrefix}:node:${node}`
  }

  /** Hash of the era: the time in which one master gives all offsets of streams, with that master's identity. */
  era(): string {
    return `${this.prefix}:era`
  }

  /** Set of the ids of nodes that have announced themselves. */
  knownNodes(): string {
    return `${this.prefix}:members`
  }

  /** A node's lease: exists while the node is alive. */
  lease(node: string): string {
    return `${this.prefix}:lease:${node}`
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
    return `${this.prefix}:presence:channels:${node}`
  }

  /** Lock: exists while another node sweeps the presence of this dead node. */
  sweepLock(node: string): string {
    return `${this.prefix}:sweep:${node}`
  }

  /** Mark that a sweep of this node began, for the node to find should it come back. */
  swept(node: string): string {
    return `${this.prefix}:swept:${node}`
  }
}

/**
 * Puts the keys of a channel into one slot of a Redis Cluster, so that scripts may use them together. Redis Cluster is not
 * supported yet; without the tag, support for it would have to rename the keys of every existing deployment. An empty tag
 * does not count as one, and the tag of a channel whose name begins with a closing brace would be empty without the colon.
 */
function hashTag(channel: string): string {
  return `{:${channel}}`
}
