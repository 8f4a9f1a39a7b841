import type { Member } from '../../src/hub/hub.js'

/** A raw connection without a socket that does nothing, but for what is said. */
export function stubMember(part: Partial<Member> & Pick<Member, 'client'>): Member {
  return {
    user: '',
    session: undefined,
    codec: 'raw',
    socket: undefined,
    isIn: () => false,
    subscribe: () => Promise.resolve(),
    unsubscribe: () => false,
    pushMessage: () => false,
    refresh: () => undefined,
    close: () => undefined,
    shutDown: () => undefined,
    missed: () => undefined,
    ...part,
  }
}
