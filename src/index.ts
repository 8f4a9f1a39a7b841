import { closest } from 'fastest-levenshtein'
import { composeInternalListener, composeNode } from './compose.js'
import { type LoadedConfig, loadConfig, type Problem } from './config/load.js'
import { authenticatesClients } from './config/rules.js'
import type { SettingKey } from './config/settings.js'
import { errorMessage } from './error-message.js'
import { controlConnections, disconnectQuestion } from './http/api-control.js'
import { parseBody } from './http/api-methods.js'
import { createLogger, type Logger } from './log.js'
import type { ClientInfo } from './protocol/client-info.js'
import { errors } from './protocol/errors.js'
import type { StreamPosition as Position } from './protocol/publication.js'
import { HOOK_NAMES, type Hooks } from './session/hooks.js'

export type { Logger } from './log.js'
export { BrokerError } from './protocol/broker-error.js'
export { errors, ProtocolError } from './protocol/errors.js'
export type { StreamPosition as Position } from './protocol/publication.js'
export type {
  Answer,
  ClientMessage,
  ConnectDecision,
  ConnectRequest,
  DisconnectEvent,
  Hooks,
  PublishDecision,
  PublishRequest,
  RefreshDecision,
  RefreshRequest,
  RpcRequest,
  SubscribeDecision,
  SubscribeRequest,
} from './session/hooks.js'

/** A namespace as in a configuration file: its name, and options such as `history_ttl: '5m'`. */
export interface NamespaceSettings {
  readonly name: string
  readonly [option: string]: string | number | boolean
}

/**
 * Settings with the names and the values of a configuration file: `{ port: 8000, rawTimeout: '30s' }`. The environment
 * is not read. There are no workers: an application runs as many processes as it likes.
 */
export type NodeSettings = {
  readonly [K in Exclude<SettingKey, 'workers' | 'namespaces'>]?:
    | string
    | number
    | boolean
    | readonly string[]
} & { readonly namespaces?: readonly NamespaceSettings[] }

export interface CreateNodeOptions {
  readonly settings?: NodeSettings
  readonly hooks?: Hooks
  /** Default: standard output, with the level and the format of the settings. */
  readonly log?: Logger
}

export interface NodePublishOptions {
  /** Keeps the publication out of the channel's history. Default: false. */
  readonly skipHistory?: boolean
  /**
   * With a key that was used in this channel within 5 minutes nothing is published, and the first result is returned.
   */
  readonly idempotencyKey?: string
  /** Texts that clients receive with the data. */
  readonly tags?: Readonly<Record<string, string>>
  /** Id of a client that does not receive the publication. */
  readonly exclude?: string
}

/** A client that is in a channel. */
export interface PresentClient {
  /** Id of the connection. */
  readonly client: string
  /** Empty for an anonymous user. */
  readonly user: string
  /** Any JSON value, from the connection's token or `ConnectDecision`; undefined where neither has one. */
  readonly connInfo: unknown
  /** Any JSON value, from the subscription's token or `SubscribeDecision`; undefined where neither has one. */
  readonly chanInfo: unknown
}

/** A node that runs inside an application. */
export interface FanfareNode {
  /** Port of the public listener. */
  readonly port: number
  /** Port of the internal listener, for operators. */
  readonly internalPort: number
  /**
   * Publishes any JSON value. Resolves with the publication's position; undefined where the channel keeps no history.
   * Rejects with a ProtocolError for an invalid channel or invalid data, and with a BrokerError when the relay fails.
   */
  publish(channel: string, data: unknown, options?: NodePublishOptions): Promise<Position | undefined>
  /**
   * Sends any JSON value to the connections of a user on every node of the cluster, outside of all channels: SDKs
   * receive it as a `message` event. Resolves with the number of connections. Raw connections cannot receive it. It is
   * not stored: a client that is not connected misses it. Rejects with a ProtocolError for an invalid user or invalid
   * data, and with a BrokerError when the relay fails.
   */
  send(user: string, data: unknown): Promise<number>
  /**
   * Closes the connections of a user on every node of the cluster. Resolves with the number of connections. The code is
   * 3000 to 4999, by default 3503, after which clients do not reconnect. Rejects with a ProtocolError for any other
   * code, and for a reason above 123 bytes.
   */
  disconnect(user: string, options?: { readonly code?: number; readonly reason?: string }): Promise<number>
  /** The clients that are in a channel, by id. Rejects with a ProtocolError where the channel keeps no presence. */
  presence(channel: string): Promise<ReadonlyMap<string, PresentClient>>
  /**
   * Closes all connections over `drainWindow`, and ends the node. Resolves with whether that was done in time. Further
   * calls return the same promise.
   */
  stop(): Promise<boolean>
}

/**
 * Runs a node inside this process: the same node that `fanfare serve` runs. Resolves when it accepts connections; while
 * Redis cannot be reached it retries, and logs it. Rejects when options or settings are invalid, with one line for each
 * problem, and when it cannot listen.
 *
 * No secret is generated: the application authenticates clients by `hooks.connect` or by one of `authTokens`,
 * `authHmacSecret`, `authPublicKey`, `authJwksUrl` and `authAnonymous`. Without `apiKey` the server API is closed.
 */
export async function createNode(options: CreateNodeOptions = {}): Promise<FanfareNode> {
  const { settings = {}, hooks = {}, log, ...unknownOptions } = options
  const { config, warnings } = readSettings(settings, hooks, Object.keys(unknownOptions))
  const logger = log ?? createLogger({ level: config.logLevel, format: config.logFormat })
  for (const warning of warnings) logger.warn({}, warning)
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
  let stopped: Promise<boolean> | undefined
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
      publish: async (channel, data, options = {}) => {
        const { skipHistory, idempotencyKey, tags, exclude } = options
        const json = toJson(data, config.maxMessageBytes)
        const given = { skip_history: skipHistory, idempotency_key: idempotencyKey, tags, exclude }
        const body = parseBody('publish', { channel, data: null, ...given })
        return channels.publish({
          channel,
          source: 'api',
          data: json,
          isBinary: false,
          isJson: true,
          tags,
          excludedClient: body.exclude,
          skipHistory: body.skip_history,
          idempotencyKey,
        })
      },
      send: async (user, data) => {
        if (typeof user !== 'string' || user === '') throw errors.badRequest('user: must be a text')
        const text = toJson(data, config.maxMessageBytes).toString()
        return (await controlConnections(node, { about: 'message', to: { user }, data: text })).num_clients
      },
      disconnect: async (user, options = {}) => {
        const question = disconnectQuestion(parseBody('disconnect', { user, ...options }))
        return (await controlConnections(node, question)).num_clients
      },
      presence: async (channel) => {
        const clients = await channels.presence(channel)
        return new Map([...clients].map(([client, info]) => [client, presentClient(info)]))
      },
      stop: () => {
        stopped ??= node.drain().finally(stop)
        return stopped
      },
    }
  } catch (error) {
    stop()
    throw error
  }
}

/** Checks settings and hooks. Throws an error with one line for each problem. */
function readSettings(settings: NodeSettings, hooks: Hooks, unknownOptions: readonly string[]): LoadedConfig {
  const { connect } = hooks
  const loaded = loadConfig({ options: settings, isAuthenticatedElsewhere: connect !== undefined })
  const { config } = loaded
  const problems: Problem[] = [...loaded.problems]
  for (const where of unknownOptions) {
    problems.push({ where, what: 'is no option of createNode, which are settings, hooks and log' })
  }
  problems.push(...hookProblems(hooks))
  if (config.workers > 1)
    problems.push({ where: 'workers', what: 'are for the command, not for the library' })
  if (problems.length === 0 && connect === undefined && !authenticatesClients(config)) {
    const what =
      'no client could connect; give it, or set authTokens, authHmacSecret, authPublicKey, authJwksUrl or authAnonymous'
    problems.push({ where: 'hooks.connect', what })
  }
  if (problems.length === 0) return loaded
  throw new Error(problems.map(({ where, what }) => `${where}: ${what}`).join('\n'))
}

/** An instance of a class or a module may have more than hooks; in an object literal any other field is a mistake. */
function hookProblems(hooks: Hooks): Problem[] {
  const given = hooks as Readonly<Record<string, unknown>>
  const names = Object.getPrototypeOf(hooks) === Object.prototype ? Object.keys(given) : HOOK_NAMES
  return names.flatMap((name) => {
    const where = `hooks.${name}`
    if (!HOOK_NAMES.includes(name)) {
      return { where, what: `is not a hook; did you mean ${closest(name, HOOK_NAMES)}?` }
    }
    const isValid = given[name] === undefined || typeof given[name] === 'function'
    return isValid ? [] : { where, what: 'is not a function' }
  })
}

/**
 * Encodes one line of JSON. Throws error 106 where it is larger than a message may be, and 107 for what is not JSON.
 */
function toJson(data: unknown, maxBytes: number): Buffer {
  let text: string | undefined
  try {
    text = JSON.stringify(data)
  } catch (error) {
    throw errors.badRequest(`the data is not JSON (${errorMessage(error)})`, { cause: error })
  }
  if (text === undefined) throw errors.badRequest('the data is not JSON')
  const bytes = Buffer.from(text)
  if (bytes.length <= maxBytes) return bytes
  throw errors.limitExceeded(`the data has ${bytes.length} bytes, the limit is ${maxBytes}`)
}

function presentClient({ client, user, connInfo, chanInfo }: ClientInfo): PresentClient {
  const parse = (text: string | undefined): unknown => (text === undefined ? undefined : JSON.parse(text))
  return { client, user, connInfo: parse(connInfo), chanInfo: parse(chanInfo) }
}
