import type { Reply } from './run-command.js'

/** A client's question whether anybody is there. */
export function handlePing(reply: Reply): undefined {
  reply({})
}
