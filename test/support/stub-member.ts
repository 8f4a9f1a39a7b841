/** A raw connection without a socket that does nothing, but for what is said. */
import type { Connection } from '../../src/connection/connection.js'
export function stubMember(part: Partial<Connection> & Pick<Connection, 'client'>): Connection {
  return {
    user: '',
    session: undefined,
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
