import type { Connection } from '../../src/connection/connection.js'

/** A raw connection without a socket whose methods do nothing, except for the given parts. */
export function stubConnection(part: Partial<Connection> & Pick<Connection, 'client'>): Connection {
  return {
    user: '',
    sessionId: undefined,
    codec: 'raw',
    socket: undefined,
    isSubscribed: () => false,
    subscribe: () => Promise.resolve(),
    unsubscribe: () => false,
    pushMessage: () => false,
    refresh: () => undefined,
    close: () => undefined,
    shutDown: () => undefined,
    notifyGap: () => undefined,
    ...part,
  }
}
