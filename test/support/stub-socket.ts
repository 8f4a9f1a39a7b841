import type { Socket } from '../../src/transport/transport.js'

/** A socket whose methods do nothing, except for the given ones. */
export function stubSocket(part: Partial<Socket> = {}): Socket {
  return {
    send: () => undefined,
    ping: () => undefined,
    close: () => undefined,
    subscribe: () => undefined,
    unsubscribe: () => undefined,
    broadcastToOthers: () => undefined,
    bufferedBytes: () => 0,
    ...part,
  }
}
