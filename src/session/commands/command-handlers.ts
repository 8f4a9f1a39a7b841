import type { ClientCommand, CommandName } from '../../protocol/client-requests.js'
import type { ClientConnection } from '../client-connection.js'
import type { CommandHandler, Reply } from './command-handler.js'
import { handleConnect } from './connect.js'
import { handleHistory } from './history.js'
import { handlePing } from './ping.js'
import { handlePresence } from './presence.js'
import { handlePresenceStats } from './presence-stats.js'
import { handlePublish } from './publish.js'
import { handleRefresh } from './refresh.js'
import { handleRpc } from './rpc.js'
import { handleSend } from './send.js'
import { handleSubRefresh } from './sub-refresh.js'
import { handleSubscribe } from './subscribe.js'
import { handleUnsubscribe } from './unsubscribe.js'

const HANDLERS: { readonly [N in CommandName]: CommandHandler<N> } = {
  connect: handleConnect,
  subscribe: handleSubscribe,
  unsubscribe: handleUnsubscribe,
  publish: handlePublish,
  presence: handlePresence,
  presence_stats: handlePresenceStats,
  history: handleHistory,
  ping: handlePing,
  send: handleSend,
  rpc: handleRpc,
  refresh: handleRefresh,
  sub_refresh: handleSubRefresh,
}

/** Runs the handler of a command, and returns or throws what that does. */
export function runCommand<N extends CommandName>(
  connection: ClientConnection,
  command: ClientCommand<N>,
  reply: Reply,
): Promise<void> | undefined {
  const handle: CommandHandler<N> = HANDLERS[command.name]
  return handle(connection, command.request, reply)
}
