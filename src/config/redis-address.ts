/** The address of a Redis: how a connection to it is made, and which of its databases is used. */
export interface RedisAddress {
  readonly target: RedisTarget
  readonly username: string | undefined
  readonly password: string | undefined
  /** Whether connections are encrypted, those to Sentinels included. */
  readonly isTls: boolean
  readonly database: number
}

/**
 * Where a Redis is: at a host, behind a socket of this machine, where Sentinels say that the master is, or spread over the
 * servers of a Redis Cluster, some of which are named.
 */
export type RedisTarget =
  | ({ readonly type: 'host' } & HostAndPort)
  | { readonly type: 'socket'; readonly path: string }
  | { readonly type: 'cluster'; readonly servers: readonly [HostAndPort, ...HostAndPort[]] }
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
  'redis://[user:password@]host[:port][/database], rediss:// for TLS, unix:///path/of.sock[?db=1], redis+sentinel://host:port?addr=host:port&sentinel_master_name=name, or redis+cluster://host:port?addr=host:port'

/**
 * Reads one address, or several of independent Redis with commas between them. Throws a RedisAddressError for what is not
 * understood in every part.
 */
export function parseRedisAddresses(text: string): readonly [RedisAddress, ...RedisAddress[]] {
  const texts = text.split(',').map((part) => part.trim())
  const repeated = texts.find((part, index) => texts.indexOf(part) < index)
  if (repeated !== undefined) throw new RedisAddressError('names the same Redis twice')
  const [first, ...others] = texts.map((part) => parseRedisAddress(part))
  if (first === undefined) throw new RedisAddressError(`is no address; use ${REDIS_ADDRESS_FORMS}`)
  if (others.length > 0 && [first, ...others].some(({ target }) => target.type === 'cluster'))
    throw new RedisAddressError(
      'names a Redis Cluster beside others: use it alone, with addr= for its servers',
    )
  return [first, ...others]
}

/** Throws a RedisAddressError for an address that is not understood in every part. */
export function parseRedisAddress(text: string): RedisAddress {
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
      return parseClusterAddress(url)
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
  return {
    target: {
      type: 'sentinel',
      sentinels: allServers(url, SENTINEL_PORT),
      masterName,
      username: searchParams.get('sentinel_user') ?? undefined,
      password: searchParams.get('sentinel_password') ?? undefined,
    },
    ...credentials(url),
    isTls: url.protocol === 'rediss+sentinel:',
    database: databaseOf(url.pathname.slice(1)),
  }
}

function parseClusterAddress(url: URL): RedisAddress {
  refuseOtherParameters(url, ['addr'])
  if (url.pathname.length > 1 && url.pathname !== '/0')
    throw new RedisAddressError('names a database, of which a Redis Cluster has only one: leave it out')
  return {
    target: { type: 'cluster', servers: allServers(url, REDIS_PORT) },
    ...credentials(url),
    isTls: url.protocol === 'rediss+cluster:',
    database: 0,
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

/** The server that an address begins with, and those that it has as parameters. */
function allServers(url: URL, defaultPort: number): [HostAndPort, ...HostAndPort[]] {
  const others = url.searchParams.getAll('addr').map((addr) => {
    if (!URL.canParse(`redis://${addr}`))
      throw new RedisAddressError(`has addr=${addr}, which is no host:port`)
    return hostAndPort(new URL(`redis://${addr}`), defaultPort)
  })
  return [hostAndPort(url, defaultPort), ...others]
}

/** Reads `host:port`, with brackets around an IPv6 address. Throws a RedisAddressError where it is none. */
export function parseHostAndPort(text: string): HostAndPort {
  if (!URL.canParse(`redis://${text}`)) throw new RedisAddressError(`has ${text}, which is no host:port`)
  return hostAndPort(new URL(`redis://${text}`), REDIS_PORT)
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
