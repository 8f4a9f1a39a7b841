/** The address of a Redis: how a connection to it is made, and which of its databases is used. */
export interface RedisAddress {
  readonly target: RedisTarget
  readonly username: string | undefined
  readonly password: string | undefined
  /** Whether connections are encrypted, those to Sentinels included. */
  readonly isTls: boolean
  readonly database: number
}

/** Where a Redis is: at a host, behind a socket of this machine, or where Sentinels say that the master is. */
export type RedisTarget =
  | ({ readonly type: 'host' } & HostAndPort)
  | { readonly type: 'socket'; readonly path: string }
  | {
      readonly type: 'sentinel'
      readonly sentinels: readonly HostAndPort[]
      readonly masterName: string
      readonly username: string | undefined
      readonly password: string | undefined
    }

export interface HostAndPort {
  readonly host: string
  readonly port: number
}

/** What is wrong with an address, and what would be right; completes a sentence that begins with the setting. */
export class RedisAddressError extends Error {
  override readonly name = 'RedisAddressError'
}

const REDIS_PORT = 6379
const SENTINEL_PORT = 26379

/** The forms of an address, for errors and documentation. */
export const REDIS_ADDRESS_FORMS =
  'redis://[user:password@]host[:port][/database], rediss:// for TLS, unix:///path/of.sock[?db=1], or redis+sentinel://host:port?addr=host:port&sentinel_master_name=name'

/** Throws a RedisAddressError for an address that is not understood in every part. */
export function parseRedisAddress(text: string): RedisAddress {
  if (text.includes(',')) throw new RedisAddressError('names several Redis, which is not supported: use one')
  if (!URL.canParse(text)) throw new RedisAddressError(`is no address; use ${REDIS_ADDRESS_FORMS}`)
  const url = new URL(text)
  switch (url.protocol) {
    case 'redis:':
    case 'rediss:':
      return parseHostAddress(url)
    case 'redis+sentinel:':
    case 'rediss+sentinel:':
      return parseSentinelAddress(url)
    case 'unix:':
      return parseSocketAddress(url)
    case 'redis+cluster:':
    case 'rediss+cluster:':
      throw new RedisAddressError('names a Redis Cluster, which is not supported: use one Redis, or Sentinel')
    default:
      throw new RedisAddressError(`begins with ${url.protocol}//; use ${REDIS_ADDRESS_FORMS}`)
  }
}

function parseHostAddress(url: URL): RedisAddress {
  refuseOtherParameters(url, [])
  return {
    target: { type: 'host', ...hostAndPort(url, REDIS_PORT) },
    ...credentials(url),
    isTls: url.protocol === 'rediss:',
    database: databaseOf(url.pathname.slice(1)),
  }
}

function parseSentinelAddress(url: URL): RedisAddress {
  const { searchParams } = url
  refuseOtherParameters(url, ['addr', 'sentinel_master_name', 'sentinel_user', 'sentinel_password'])
  const masterName = searchParams.get('sentinel_master_name') ?? ''
  if (masterName === '') {
    throw new RedisAddressError('needs the name of the master: add ?sentinel_master_name=mymaster')
  }
  const others = searchParams.getAll('addr').map((addr) => {
    if (!URL.canParse(`redis://${addr}`))
      throw new RedisAddressError(`has addr=${addr}, which is no host:port`)
    return hostAndPort(new URL(`redis://${addr}`), SENTINEL_PORT)
  })
  return {
    target: {
      type: 'sentinel',
      sentinels: [hostAndPort(url, SENTINEL_PORT), ...others],
      masterName,
      username: searchParams.get('sentinel_user') ?? undefined,
      password: searchParams.get('sentinel_password') ?? undefined,
    },
    ...credentials(url),
    isTls: url.protocol === 'rediss+sentinel:',
    database: databaseOf(url.pathname.slice(1)),
  }
}

function parseSocketAddress(url: URL): RedisAddress {
  const { searchParams } = url
  refuseOtherParameters(url, ['db', 'user', 'password'])
  if (url.host !== '' || url.pathname.length < 2) {
    throw new RedisAddressError('must have the whole path of a socket: unix:///run/redis/redis.sock')
  }
  return {
    target: { type: 'socket', path: decoded(url.pathname) },
    username: searchParams.get('user') ?? undefined,
    password: searchParams.get('password') ?? undefined,
    isTls: false,
    database: databaseOf(searchParams.get('db') ?? ''),
  }
}

function refuseOtherParameters({ searchParams }: URL, known: readonly string[]): void {
  const unknown = [...searchParams.keys()].find((name) => !known.includes(name))
  if (unknown === undefined) return
  const right = known.length === 0 ? 'it takes none' : `known are ${known.join(', ')}`
  throw new RedisAddressError(`has a parameter ${unknown} that is not known; ${right}`)
}

function hostAndPort({ hostname, port }: URL, defaultPort: number): HostAndPort {
  if (hostname === '') throw new RedisAddressError(`has no host; use ${REDIS_ADDRESS_FORMS}`)
  // URLs have brackets around IPv6 addresses, sockets have not.
  return { host: hostname.replace(/^\[(.*)\]$/, '$1'), port: port === '' ? defaultPort : Number(port) }
}

function credentials({ username, password }: URL): Pick<RedisAddress, 'username' | 'password'> {
  return {
    username: username === '' ? undefined : decoded(username),
    password: password === '' ? undefined : decoded(password),
  }
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw new RedisAddressError('has a % that begins no encoded character; a % itself is written %25')
  }
}

function databaseOf(text: string): number {
  if (!/^\d{0,5}$/.test(text)) throw new RedisAddressError(`names the database "${text}", which is no number`)
  return Number(text)
}
