export { BrokerError } from './protocol/broker-error.js'
export type { StreamPosition as Position } from './protocol/publication.js'

import { closest } from 'fastest-levenshtein'
import { composeInternalListener, composeNode } from './compose.js'
import { type Loaded, loadConfig, type Problem } from './config/load.js'
import { authenticatesClients } from './config/rules.js'
import type { SettingKey } from './config/settings.js'
import { control, disconnectQuestion } from './http/api-control.js'
import { parseBody } from './http/api-methods.js'
import { createLogger, type Logger } from './log.js'
import type { ClientInfo } from './protocol/client-info.js'
import { errors } from './protocol/errors.js'
import type { StreamPosition as Position } from './protocol/publication.js'
import { HOOK_NAMES, type Hooks } from './session/hooks.js'

export type { Logger } from './log.js'
export { errors, ProtocolError } from './protocol/errors.js'
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

/** A namespace as it is written in a file: its name, and options such as `history_ttl: '5m'`. */
export interface NamespaceSettings {
  readonly name: string
  readonly [option: string]: string | number | boolean
}

/**
 * Settings by the names they have in a file, with the values they have there: `{ port: 8000, rawTimeout: '30s' }`. The
 * environment is not read. There are no workers: an application runs as many processes as it likes.
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
  /** Default: standard output, at the level and in the format that the settings say. */
  readonly log?: Logger
}

export interface NodePublishOptions {
  /** Keeps it out of the channel's history. */
  readonly skipHistory?: boolean
  /** With a key that was used in this channel within 5 minutes nothing is published; the first result is given. */
  readonly idempotencyKey?: string
  readonly tags?: Readonly<Record<string, string>>
  /** Id of a client that does not get it. */
  readonly exclude?: string
}

/** Somebody who is in a channel. */
export interface PresentClient {
  readonly client: string
  /** Empty for somebody without a name. */
  readonly user: string
  /** JSON values, of the connection's token or decision and of the subscription's; undefined where there is none. */
  readonly connInfo: unknown
  readonly chanInfo: unknown
}

/** A node that runs inside an application. */
export interface FanfareNode {
  /** Of the public listener. */
  readonly port: number
  /** Of the listener for operators. */
  readonly internalPort: number
  /**
   * Publishes any JSON value. Resolves with its place where the channel keeps history. Rejects with a ProtocolError
   * where the channel or the data is not right, with a BrokerError when the relay does not take it.
   */
  publish(channel: string, data: unknown, options?: NodePublishOptions): Promise<Position | undefined>
  /**
   * Sends any JSON value to the connections of a user on every node of the cluster, past all channels: SDKs' `message`
   * event. Resolves with how many they were. Raw connections have no such messages. Nothing keeps it: whoever is not
   * connected misses it. Rejects with a ProtocolError where the user or the data is not right, with a BrokerError when
   * the relay does not take it.
   */
  send(user: string, data: unknown): Promise<number>
  /**
   * Closes the connections of a user on every node of the cluster. Resolves with how many they were. The code is 3000 to
   * 4999, by default 3503, after which clients don't come back. Rejects with a ProtocolError for any other, and for a
   * reason above 123 bytes.
   */
  disconnect(user: string, options?: { readonly code?: number; readonly reason?: string }): Promise<number>
  /** Who is in a channel, by client id. Rejects with a ProtocolError where no presence is kept. */
  presence(channel: string): Promise<ReadonlyMap<string, PresentClient>>
  /** Sends its connections away over `drainWindow`, and ends, once however often it is called. Resolves with whether that was done in time. */
  stop(): Promise<boolean>
}

/**
 * Runs a node inside this process; it is the node that `fanfare serve` runs. Resolves when it serves: with a Redis that
 * cannot be reached it goes on trying, and says so in the log. Rejects, with every problem on a line, when the settings
 * are not right, and when it cannot listen.
 *
 * Nothing is made up: somebody has to say who may connect, which is `hooks.connect` or one of `authTokens`,
 * `authHmacSecret`, `authPublicKey`, `authJwksUrl` and `authAnonymous`. Without `apiKey` the server API is closed.
 */
export async function createNode(options: CreateNodeOptions = {}): Promise<FanfareNode> {
  const { settings = {}, hooks = {}, log, ...strangers } = options
  const { config, warnings } = readSettings(settings, hooks, Object.keys(strangers))
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
        return (await control(node, { about: 'message', to: { user }, data: text })).num_clients
      },
      disconnect: async (user, options = {}) => {
        const question = disconnectQuestion(parseBody('disconnect', { user, ...options }))
        return (await control(node, question)).num_clients
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

/** Throws every problem, one a line. */
function readSettings(settings: NodeSettings, hooks: Hooks, strangers: readonly string[]): Loaded {
  const { connect } = hooks
  const loaded = loadConfig({ options: settings, isAuthenticatedElsewhere: connect !== undefined })
  const { config } = loaded
  const problems: Problem[] = [...loaded.problems]
  for (const where of strangers) {
    problems.push({ where, what: 'is no option of createNode, which are settings, hooks and log' })
  }
  problems.push(...hookProblems(hooks))
  if (config.workers > 1)
    problems.push({ where: 'workers', what: 'are for the command, not for the library' })
  if (problems.length === 0 && connect === undefined && !authenticatesClients(config)) {
    const what =
      'nobody could connect; give it, or set authTokens, authHmacSecret, authPublicKey, authJwksUrl or authAnonymous'
    problems.push({ where: 'hooks.connect', what })
  }
  if (problems.length === 0) return loaded
  throw new Error(problems.map(({ where, what }) => `${where}: ${what}`).join('\n'))
}

/** An instance of a class or a module may have more than hooks; what stands beside them in a literal is a mistake. */
function hookProblems(hooks: Hooks): Problem[] {
  const given = hooks as Readonly<Record<string, unknown>>
  const names = Object.getPrototypeOf(hooks) === Object.prototype ? Object.keys(given) : HOOK_NAMES
  return names.flatMap((name) => {
    const where = `hooks.${name}`
    if (!HOOK_NAMES.includes(name)) {
      return { where, what: `is not a hook; did you mean ${closest(name, HOOK_NAMES)}?` }
    }
    const isRight = given[name] === undefined || typeof given[name] === 'function'
    return isRight ? [] : { where, what: 'is not a function' }
  })
}

/** One line of JSON, no larger than a message may be. Throws errors 106 and 107. */
function toJson(data: unknown, maxBytes: number): Buffer {
  let text: string | undefined
  try {
    text = JSON.stringify(data)
  } catch (error) {
    throw errors.badRequest(
      `the data is not JSON (${error instanceof Error ? error.message : String(error)})`,
    )
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
