import type { Position } from './broker/broker.js'
import { composeInternalListener, composeNode } from './compose.js'
import { loadConfig } from './config/load.js'
import type { SettingKey } from './config/settings.js'
import { createLogger, type Logger } from './log.js'
import type { ClientInfo } from './protocol/client-info.js'
import { DISCONNECTS } from './protocol/closes.js'
import type { Hooks } from './session/hooks.js'

export type { Position } from './broker/broker.js'
export type { Logger } from './log.js'
export type { ClientInfo } from './protocol/client-info.js'
export { errors, ProtocolError } from './protocol/errors.js'
export type {
  ConnectDecision,
  ConnectRequest,
  DisconnectEvent,
  Hooks,
  PublishRequest,
  RpcRequest,
  SubscribeDecision,
  SubscribeRequest,
} from './session/hooks.js'

export interface CreateNodeOptions {
  /** By the names they have in a file, with the values they have there: `{ port: 8000, rawTimeout: '30s' }`. */
  readonly settings?: Readonly<Partial<Record<SettingKey, unknown>>>
  readonly hooks?: Hooks
  /** Default: standard output, at the level and in the format that the settings say. */
  readonly log?: Logger
}

/** A node that runs inside an application. */
export interface FanfareNode {
  /** Of the public listener. */
  readonly port: number
  /** Of the listener for operators. */
  readonly internalPort: number
  /**
   * Publishes any JSON value. Resolves with its place where the channel keeps history. Rejects with a ProtocolError for
   * what is no channel, with a BrokerError when the relay does not take it.
   */
  publish(channel: string, data: unknown): Promise<Position | undefined>
  /** Closes the connections of a user on every node of the cluster. Default: 3503, after which clients don't come back. */
  disconnect(user: string, options?: { readonly code?: number; readonly reason?: string }): Promise<void>
  /** Who is in a channel, by client id. */
  presence(channel: string): Promise<ReadonlyMap<string, ClientInfo>>
  /** Sends its connections away and ends. Resolves with whether that was done in time. */
  stop(): Promise<boolean>
}

/**
 * Runs a node inside this process; it is the node that `fanfare serve` runs. Rejects, with every problem on a line, when
 * the settings are not right, and when it cannot listen.
 */
export async function createNode({
  settings = {},
  hooks = {},
  log,
}: CreateNodeOptions): Promise<FanfareNode> {
  const { config, problems } = loadConfig({ options: settings })
  if (problems.length > 0) {
    throw new Error(problems.map(({ where, what }) => `${where}: ${what}`).join('\n'))
  }
  const logger = log ?? createLogger({ level: config.logLevel, format: config.logFormat })
  let isReady: (port: number) => void = () => undefined
  const ready = new Promise<number>((resolve) => {
    isReady = resolve
  })
  const composed = composeNode({ config, log: logger, hooks, isPortShared: false, ready: isReady })
  const { node, channels } = composed
  const internal = composeInternalListener(config, logger, {
    readiness: () => node.readiness(),
    metrics: () => composed.metrics.expose(),
  })
  const stop = (): void => {
    node.stop()
    internal.close()
  }
  try {
    const internalPort = await internal.listen({ host: config.internalHost, port: config.internalPort })
    await node.start()
    return {
      port: await ready,
      internalPort,
      publish: (channel, data) => channels.publish('api', channel, jsonDraft(data)),
      disconnect: async (user, { code, reason } = {}) => {
        const close = { ...DISCONNECTS.forceDisconnect, ...(code !== undefined && { code, reason: '' }) }
        await node.controlConnections({
          about: 'disconnect',
          to: { user },
          close: { code: close.code, reason: reason ?? close.reason },
          whitelist: [],
        })
      },
      presence: (channel) => channels.presence(channel),
      stop: async () => {
        const isClean = await node.drain()
        stop()
        return isClean
      },
    }
  } catch (error) {
    stop()
    throw error
  }
}

function jsonDraft(data: unknown) {
  return { data: Buffer.from(JSON.stringify(data) ?? 'null'), isBinary: false, isJson: true }
}
