/** Every key and Redis channel that Fanfare uses, all below one prefix, so that an ACL can name them. */
export class Keys {
  constructor(private readonly prefix: string) {}

  /** Redis channel that carries a channel's events. */
  channel(name: string): string {
    return `${this.prefix}:channel:${name}`
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
}
