import { createHash } from 'node:crypto'

/** Every key and Redis channel that Fanfare uses, all below one prefix, so that an ACL can name them. */
export class Keys {
  constructor(private readonly prefix: string) {}

  /** Redis channel that carries a channel's events. */
  channel(name: string): string {
    return `${this.prefix}:channel:${name}`
  }

  /** Stream of the publications that a channel keeps, by offset. */
  stream(channel: string): string {
    return `${this.prefix}:stream:${hashTag(channel)}`
  }

  /** Hash of a channel's epoch, top offset and the master that gave it. */
  streamMeta(channel: string): string {
    return `${this.prefix}:stream-meta:${hashTag(channel)}`
  }

  /** What came of the publication that had this key; a digest, since anything may be in a key, of any length. */
  idempotency(channel: string, key: string): string {
    const digest = createHash('sha256').update(key).digest('base64url')
    return `${this.prefix}:idempotency:${hashTag(channel)}:${digest}`
  }

  /** Redis channel that all nodes listen to. */
  allNodes(): string {
    return `${this.prefix}:nodes`
  }

  /** Redis channel that one node listens to. */
  oneNode(node: string): string {
    return `${this.prefix}:node:${node}`
  }

  /** Set of the ids of nodes that have announced themselves. */
  members(): string {
    return `${this.prefix}:members`
  }

  /** A node's lease: there while the node is alive. */
  lease(node: string): string {
    return `${this.prefix}:lease:${node}`
  }

  /** Hash of everybody in a channel: client → who it is, and on which node. */
  presenceClients(channel: string): string {
    return `${this.prefix}:presence:clients:${tag(channel)}`
  }

  /** Hash of the users in a channel: user → number of its clients. */
  presenceUsers(channel: string): string {
    return `${this.prefix}:presence:users:${tag(channel)}`
  }

  /** Set of a node's clients in a channel. */
  presenceOfNode(node: string, channel: string): string {
    return `${this.prefix}:presence:node:${node}:${tag(channel)}`
  }

  /** Set of the channels that a node has clients in, and perhaps of some more. */
  presenceChannels(node: string): string {
    return `${this.prefix}:presence:channels:${node}`
  }

  /** There while somebody sweeps a dead node. */
  sweepLock(node: string): string {
    return `${this.prefix}:sweep:${node}`
  }

  /** There since somebody began to sweep a node, to tell it should it come back. */
  swept(node: string): string {
    return `${this.prefix}:swept:${node}`
  }
}

/**
 * Keeps a channel's keys in one slot of a Redis Cluster. The equals sign keeps a channel whose name begins with a brace
 * from making the tag empty, which would not count as one.
 */
function tag(channel: string): string {
  return `{=${channel}}`
}

/**
 * Puts the keys of a channel into one slot of a Redis Cluster, so that scripts may use them together. A tag must not be
 * empty, as one of a name that opens with a brace would be without the colon.
 */
function hashTag(channel: string): string {
  return `{:${channel}}`
}
