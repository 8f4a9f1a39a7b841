import type { Reply } from '../command-session.js'

/** A client's question whether anybody is there. */
export function handlePing(reply: Reply): undefined {
  reply({})
}
