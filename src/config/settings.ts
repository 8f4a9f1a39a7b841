import { mostConnections } from './descriptor-limit.js'
import {
  boolean,
  choice,
  duration,
  httpUrl,
  integer,
  type Kind,
  list,
  originPattern,
  port,
  redisUrl,
  size,
  staticToken,
  text,
} from './kinds.js'
import { MAX_DELIVERY_DELAY_MS, namespaces } from './namespaces.js'
import { publicKeys } from './public-keys.js'

/** One row of the table of settings. Its key is the name in a file; environment and flag are spelled from it. */
export interface Setting<T = unknown> {
  readonly kind: Kind<T>
  readonly default: T | undefined
  /** What stands in tables when the default is absent or depends on the machine. */
  readonly defaultText?: string
  /** What it does and why the default is what it is. */
  readonly meaning: string
  /** Never shown; `partly`: an address whose password is not shown. */
  readonly secret?: boolean | 'partly'
}

interface Extra {
  readonly defaultText?: string
  readonly secret?: boolean | 'partly'
}

function required<T>(kind: Kind<T>, value: T, meaning: string, extra: Extra = {}) {
  return { kind, default: value, meaning, ...extra }
}

function optional<T>(kind: Kind<T>, meaning: string, extra: Extra = {}) {
  return { kind, default: undefined, defaultText: 'none', meaning, ...extra }
}

const host = text('an address or a host name such as 0.0.0.0', /^[\w.:-]+$/)
const file = text('the path of a PEM file')

/** Every setting of Fanfare. `fanfare config`, the table of docs/settings.md and the validation come from here. */
export const SETTINGS = {
  host: required(host, '127.0.0.1', 'public address: WebSocket and server API; 0.0.0.0 for all'),
  port: required(port, 8000, 'public port'),
  internalHost: required(host, '127.0.0.1', 'internal address: /metrics, /health, /ready'),
  internalPort: required(port, 9000, 'internal port, never to be published'),
  tlsCert: optional(file, 'certificate chain (PEM) that makes the public listener https:// and wss://'),
  tlsKey: optional(file, 'private key (PEM) of the certificate'),
  internalTlsCert: optional(file, 'certificate chain (PEM) of the internal listener'),
  internalTlsKey: optional(file, 'private key (PEM) of the internal certificate'),
  workers: required(
    integer(1, 256),
    1,
    'processes that share the public port, each of them a node: one for each core; more than one need Redis',
  ),
  redisUrl: optional(redisUrl, 'Redis that relays between nodes; without it this node is alone, in memory', {
    defaultText: 'none: in memory',
    secret: 'partly',
  }),
  redisPrefix: required(
    text('letters, digits, - _ . :', /^[\w.:-]+$/),
    'fanfare',
    'prefix of every Redis key and channel: two clusters can share a Redis',
  ),
  relayQueueBytes: required(
    size(1024 ** 2, 1024 ** 3),
    16 * 1024 ** 2,
    'publications waiting for Redis before further ones are refused, so that an outage cannot fill the memory',
  ),
  authTokens: optional(
    list(staticToken, 'tokens separated by commas, each token or user=token'),
    'static tokens, comma-separated; user=token names the user',
    { secret: true },
  ),
  authHeader: required(
    text('the name of a header', /^[A-Za-z0-9-]+$/),
    'X-Auth-Token',
    'header that a raw client’s token is read from',
  ),
  authHmacSecret: optional(
    text('a secret'),
    'secret that JWTs are verified with (HS256, HS384, HS512); 32 random bytes or more',
    {
      secret: true,
    },
  ),
  authPublicKey: optional(
    publicKeys,
    'public keys (PEM, or the path of a file of them) that JWTs are verified with (RS256–512, ES256–512, EdDSA)',
  ),
  authJwksUrl: optional(
    httpUrl,
    'where the issuer of JWTs publishes its public keys (JWK Set): fetched at the start, every 5 minutes, and when a token names another key',
  ),
  authAudience: optional(text('a text'), 'what the aud claim of JWTs must be or hold'),
  authIssuer: optional(text('a text'), 'what the iss claim of JWTs must be'),
  authAnonymous: required(boolean, false, 'let clients without a token in; a wrong token is refused still'),
  allowedOrigins: optional(
    list(originPattern, 'origins separated by commas: https://app.example.com, *.example.com, or *'),
    'origins of browser pages that may connect, besides the node’s own; clients without Origin always may',
  ),
  apiKey: optional(text('a key without spaces', /^\S+$/), 'key of the server API', {
    secret: true,
    defaultText: 'none: the API is closed',
  }),
  rawCheckInterval: required(
    duration(100),
    10_000,
    'how often a raw connection is looked at; a dead one is closed at most this late',
  ),
  rawTimeout: required(
    duration(100),
    30_000,
    'silence after which a raw connection is closed; it is pinged after half of it',
  ),
  rawQueueBytes: required(
    size(64 * 1024, 1024 ** 3),
    4 * 1024 ** 2,
    'bytes a slow raw client may leave unread before it is closed: four of the largest messages',
  ),
  busyDeliveryDelay: required(
    duration(0, MAX_DELIVERY_DELAY_MS),
    20,
    'least time between two deliveries in a channel while this node is busy, so that what is said in between leaves together; 0: none',
  ),
  pingInterval: required(
    duration(100),
    25_000,
    'how often a client of the Centrifuge protocol is pinged; below the 30 s or 60 s after which proxies cut',
  ),
  pongTimeout: required(duration(100), 8_000, 'time in which such a client has to answer a ping'),
  staleTimeout: required(duration(100), 10_000, 'time in which such a client has to say who it is'),
  queueBytes: required(
    size(64 * 1024, 1024 ** 3),
    1024 ** 2,
    'bytes such a client may leave unread before it is closed; SDKs come back and recover',
  ),
  maxCommandBytes: required(
    size(1024, 16 * 1024 ** 2),
    64 * 1024,
    'largest command of such a client; a frame may hold many',
  ),
  maxChannelsPerConnection: required(
    integer(1, 10_000),
    128,
    'subscriptions of one connection; further ones are refused with error 106',
  ),
  maxHistoryPublications: required(
    integer(1, 100_000),
    1_000,
    'publications that a client may read or recover at once; whoever missed more starts anew',
  ),
  namespaces: optional(
    namespaces,
    'what channels keep and who may do what in them, by the part of their name before the colon; JSON',
    { defaultText: 'one, open to all who are let in' },
  ),
  maxMessageBytes: required(size(1, 64 * 1024 ** 2), 1024 ** 2, 'largest message of a raw client'),
  maxConnections: required(
    integer(1, 1_000_000),
    mostConnections(),
    'connections of this node; further ones are refused with 503',
    { defaultText: 'the descriptor limit less 256' },
  ),
  drainDelay: required(
    duration(),
    0,
    'time between turning not ready and refusing connections, for a balancer that needs it to notice',
  ),
  drainWindow: required(duration(), 20_000, 'time over which a stopping node spreads its closes'),
  logLevel: required(choice('debug', 'info', 'warn', 'error', 'silent'), 'info', 'least level logged'),
  logFormat: required(
    choice('json', 'pretty'),
    process.stdout.isTTY ? 'pretty' : 'json',
    'a JSON object a line, or lines for people',
    { defaultText: 'json; pretty on a terminal' },
  ),
} as const satisfies Record<string, { kind: unknown; meaning: string }>

export type SettingKey = keyof typeof SETTINGS

/** What a node runs with, one value a setting: durations in milliseconds, sizes in bytes. */
export type Config = {
  readonly [K in SettingKey]: (typeof SETTINGS)[K] extends { kind: Kind<infer T>; default: infer D }
    ? D extends undefined
      ? T | undefined
      : T
    : never
}

export const SETTING_KEYS = Object.keys(SETTINGS) as SettingKey[]

export function settingOf(key: SettingKey): Setting {
  return SETTINGS[key] as Setting
}

/** `rawTimeout` is `FANFARE_RAW_TIMEOUT` in the environment. */
export function environmentName(key: string): string {
  return `FANFARE_${key.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`
}

/** `rawTimeout` is `--raw-timeout` on the command line. */
export function flagName(key: string): string {
  return `--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`
}
