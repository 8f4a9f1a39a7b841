import type { ClientCommand } from '../../protocol/client-requests.js'
import type { ClientSession } from '../client-session.js'
import type { Reply } from '../command-session.js'
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

/**
 * Does what a command asks. Returns nothing when it is done at once. Throws or rejects with a ProtocolError, a
 * BrokerError or a Closing.
 */
export function runCommand(
  session: ClientSession,
  command: ClientCommand,
  reply: Reply,
): Promise<void> | undefined {
  switch (command.name) {
    case 'connect':
      return handleConnect(session, command.request, reply)
    case 'subscribe':
      return handleSubscribe(session, command.request, reply)
    case 'unsubscribe':
      return handleUnsubscribe(session, command.request, reply)
    case 'publish':
      return handlePublish(session, command.request, reply)
    case 'presence':
      return handlePresence(session, command.request, reply)
    case 'presence_stats':
      return handlePresenceStats(session, command.request, reply)
    case 'history':
      return handleHistory(session, command.request, reply)
    case 'ping':
      return handlePing(reply)
    case 'send':
      return handleSend(session, command.request)
    case 'rpc':
      return handleRpc(session, command.request, reply)
    case 'refresh':
      return handleRefresh(session, command.request, reply)
    case 'sub_refresh':
      return handleSubRefresh(session, command.request, reply)
  }
}
