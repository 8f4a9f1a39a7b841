import { connectionCapacity, MAX_CONNECTIONS } from './descriptor-limit.js'
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

/** A row of the table of settings. Its key is the name in a file; the names of variable and flag derive from it. */
export interface Setting<T = unknown> {
  readonly kind: Kind<T>
  readonly default: T | undefined
  /** Shown in tables instead of a default that is absent or depends on the machine. */
  readonly defaultText?: string
  /**
   * What the setting does, and why its default is what it is. Shown in the documentation, by `fanfare config` and
   * `--help`.
   */
  readonly meaning: string
  /** Whether the value is masked wherever it is shown. `partly`: an address whose password and query are masked. */
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

/** Every setting of Fanfare. Flags, variables, `fanfare config`, docs/settings.md and the validation derive from it. */
export const SETTINGS = {
  host: required(
    host,
    '127.0.0.1',
    'public address, for WebSocket and the server API; 0.0.0.0 for all interfaces',
  ),
  port: required(port, 8000, 'public port'),
  internalHost: required(host, '127.0.0.1', 'internal address, for /metrics, /health and /ready'),
  internalPort: required(port, 9000, 'internal port; never publish it'),
  tlsCert: optional(file, 'certificate chain (PEM) that makes the public listener https:// and wss://'),
  tlsKey: optional(file, 'private key (PEM) of the certificate'),
  internalTlsCert: optional(file, 'certificate chain (PEM) of the internal listener'),
  internalTlsKey: optional(file, 'private key (PEM) of the internal certificate'),
  workers: required(
    integer(1, 256),
    1,
    'processes that share the public port, each of them a node; use one for each core, more than one need Redis',
  ),
  redisUrl: optional(
    redisUrl,
    'Redis that relays between nodes; without it the node is standalone and keeps everything in memory',
    {
      defaultText: 'none: in memory',
      secret: 'partly',
    },
  ),
  redisTlsCa: optional(file, 'certificates (PEM) of the authorities that sign the certificate of Redis'),
  redisTlsCert: optional(file, 'certificate (PEM) by which this node shows Redis who it is'),
  redisTlsKey: optional(file, 'private key (PEM) of that certificate'),
  redisPrefix: required(
    text('letters, digits, - _ . :', /^[\w.:-]+$/),
    'fanfare',
    'prefix of every Redis key and channel: two clusters can share a Redis',
  ),
  relayQueueBytes: required(
    size(1024 ** 2, 1024 ** 3),
    16 * 1024 ** 2,
    'bytes of publications that may wait for Redis; further ones are refused, so that an outage cannot fill the memory',
  ),
  authTokens: optional(
    list(staticToken, 'tokens separated by commas, each token or user=token'),
    'static tokens, comma-separated; user=token names the user',
    { secret: true },
  ),
  authHeader: required(
    text('the name of a header', /^[A-Za-z0-9-]+$/),
    'X-Auth-Token',
    'header from which the token of a raw client is read',
  ),
  authHmacSecret: optional(
    text('a secret'),
    'secret that verifies JWTs (HS256, HS384, HS512); use 32 random bytes or more',
    {
      secret: true,
    },
  ),
  authPublicKey: optional(
    publicKeys,
    'public keys (PEM, or the path of a file of them) that verify JWTs (RS256–512, ES256–512, EdDSA)',
  ),
  authJwksUrl: optional(
    httpUrl,
    'URL of the JWK Set with the public keys of the issuer of JWTs; fetched at start, every 5 minutes, and when a token names an unknown key',
  ),
  authAudience: optional(text('a text'), 'value that the aud claim of JWTs must equal or contain'),
  authIssuer: optional(text('a text'), 'value that the iss claim of JWTs must equal'),
  authAnonymous: required(
    boolean,
    false,
    'accept clients without a token, as anonymous users; a wrong token is still refused',
  ),
  allowedOrigins: optional(
    list(originPattern, 'origins separated by commas: https://app.example.com, *.example.com, or *'),
    'origins of web pages that may connect, besides the node’s own; clients without an Origin header always may',
  ),
  apiKey: optional(text('a key without spaces', /^\S+$/), 'key of the server API', {
    secret: true,
    defaultText: 'none: the API is closed',
  }),
  rawCheckInterval: required(
    duration(100),
    10_000,
    'how often raw connections are checked for silence; a dead one is closed at most this late',
  ),
  rawTimeout: required(
    duration(100),
    30_000,
    'silence after which a raw connection is closed; it is pinged after half of this time',
  ),
  rawQueueBytes: required(
    size(64 * 1024, 1024 ** 3),
    4 * 1024 ** 2,
    'bytes that a slow raw client may leave unread before it is closed; the default is four of the largest messages',
  ),
  busyDeliveryDelay: required(
    duration(0, MAX_DELIVERY_DELAY_MS),
    20,
    'least time between two deliveries in a channel while this node is busy; publications in between are delivered together; 0: none',
  ),
  pingInterval: required(
    duration(100),
    25_000,
    'how often an SDK client is pinged; the default is below the 30 s or 60 s after which proxies cut idle connections',
  ),
  pongTimeout: required(duration(100), 8_000, 'time in which an SDK client must answer a ping'),
  staleTimeout: required(
    duration(100),
    10_000,
    'time in which an SDK client must connect and be accepted; otherwise it is closed',
  ),
  queueBytes: required(
    size(64 * 1024, 1024 ** 3),
    1024 ** 2,
    'bytes that an SDK client may leave unread before it is closed; SDKs reconnect and recover',
  ),
  maxCommandBytes: required(
    size(1024, 16 * 1024 ** 2),
    64 * 1024,
    'largest command of an SDK client; a frame may contain several',
  ),
  maxChannelsPerConnection: required(
    integer(1, 10_000),
    128,
    'subscriptions of one connection; further ones are refused with error 106',
  ),
  maxHistoryPublications: required(
    integer(1, 100_000),
    1_000,
    'publications that a client may read or recover at once; a client that missed more starts anew',
  ),
  namespaces: optional(
    namespaces,
    'what channels keep and what clients may do in them, by the part of the channel name before the colon; JSON',
    { defaultText: 'one, open to every accepted client' },
  ),
  maxMessageBytes: required(size(1, 64 * 1024 ** 2), 1024 ** 2, 'largest message of a raw client'),
  maxConnections: required(
    integer(1, MAX_CONNECTIONS),
    connectionCapacity(),
    'most connections of this node, at most 1,000,000; further ones are refused with 503',
    { defaultText: 'the descriptor limit less 256, or half of it if more' },
  ),
  drainDelay: required(
    duration(),
    0,
    'time between turning not ready and refusing connections, in which a load balancer can notice',
  ),
  drainWindow: required(
    duration(),
    20_000,
    'time over which a stopping node spreads the closes of its connections',
  ),
  logLevel: required(
    choice('debug', 'info', 'warn', 'error', 'silent'),
    'info',
    'lowest level that is logged',
  ),
  logFormat: required(
    choice('json', 'pretty'),
    process.stdout.isTTY ? 'pretty' : 'json',
    'one JSON object per line, or lines for people',
    { defaultText: 'json; pretty on a terminal' },
  ),
} as const satisfies Record<string, { kind: unknown; meaning: string }>

export type SettingKey = keyof typeof SETTINGS

/**
 * The value of every setting: durations in milliseconds, sizes in bytes. Undefined: the setting is not set and has no
 * default.
 */
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

/** The environment variable of a setting: `FANFARE_RAW_TIMEOUT` for `rawTimeout`. */
export function environmentName(key: string): string {
  return `FANFARE_${key.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`
}

/** The flag of a setting: `--raw-timeout` for `rawTimeout`. */
export function flagName(key: string): string {
  return `--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`
}
