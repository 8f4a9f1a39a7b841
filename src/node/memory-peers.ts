import type { PeerMessage, Peers, ReceivedMessage } from './peers.js'

/** The peers of a node that runs alone: it is the only one, and receives its own messages. */
export class MemoryPeers implements Peers {
  private handler: ((message: ReceivedMessage) => void) | undefined

  constructor(private readonly node: string) {}

  start(handler: (message: ReceivedMessage) => void): Promise<void> {
    this.handler = handler
    return Promise.resolve()
  }

  announce(): Promise<boolean> {
    return Promise.resolve(false)
  }

  aliveNodes(): Promise<readonly string[]> {
    return Promise.resolve([this.node])
  }

  sendToAll(message: PeerMessage): Promise<void> {
    this.handler?.(message)
    return Promise.resolve()
  }

  sendTo(node: string, message: PeerMessage): Promise<void> {
    if (node === this.node) this.handler?.(message)
    return Promise.resolve()
  }

  leave(): Promise<void> {
    return Promise.resolve()
  }

  reconnect(): void {
    // A node that runs alone has no connection to other nodes.
  }
}
