import { UsageError } from '../usage-error.js'

/** The channel where neither `--channel` nor the address names one. */
export const DEFAULT_CHANNEL = 'monitor'

const EXPECTED = 'expected ws://<host>:<port> or wss://<host>:<port>'

/** The name after /ws/, still percent-encoded. */
const NAMED_CHANNEL = /\/ws\/(.+)$/

/**
 * The address to connect to. An address without a path is a node or a balancer and gets /ws/<channel>; one that names a
 * channel, or another endpoint such as /echo where no channel is given, is used unchanged. Throws a UsageError when the
 * address is no WebSocket address, or when two channels are named.
 */
export function monitorAddress(url: string, channel?: string): URL {
  const address = parse(url)
  const named = NAMED_CHANNEL.exec(address.pathname)?.[1]
  if (named !== undefined) {
    if (channel === undefined || channel === decoded(named)) return address
    throw new UsageError(
      `the address names the channel ${decoded(named)} and --channel another, ${channel}: give one of them`,
    )
  }
  const base = address.pathname.replace(/\/+$/, '').replace(/\/ws$/, '')
  if (base !== '' && channel === undefined) return address
  return withChannel(address, base, channel ?? DEFAULT_CHANNEL)
}

/** The address without credentials and query, which may contain a token: for output. */
export function printedAddress(address: URL): string {
  return `${address.protocol}//${address.host}${address.pathname}`
}

function parse(url: string): URL {
  const address = URL.canParse(url) ? new URL(url) : undefined
  const isWebSocket = address?.protocol === 'ws:' || address?.protocol === 'wss:'
  if (address === undefined || !isWebSocket) {
    throw new UsageError(`bad address ${withoutSecrets(url)}: ${EXPECTED}`)
  }
  if (address.hash !== '') {
    throw new UsageError(
      `bad address ${withoutSecrets(url)}: a # in it ends the path; write %23, or name the channel with --channel`,
    )
  }
  return address
}

function withChannel(address: URL, base: string, channel: string): URL {
  const path = `${base}/ws/${encoded(channel)}`
  const complete = new URL(address)
  complete.pathname = path
  // A URL drops the path segments . and .., percent-encoded or not, so no request can carry such a name.
  if (channel === '' || complete.pathname !== path) {
    throw new UsageError(`${JSON.stringify(channel)} can't be the name of a channel`)
  }
  return complete
}

function encoded(channel: string): string {
  try {
    return encodeURIComponent(channel)
  } catch (error) {
    throw new UsageError('the name of the channel is not well-formed Unicode', { cause: error })
  }
}

function decoded(name: string): string {
  try {
    return decodeURIComponent(name)
  } catch {
    return name
  }
}

/** The same for an address that could not be parsed. */
function withoutSecrets(url: string): string {
  return url.replace(/\?[^#]*/, '').replace(/\/\/[^/@]*@/, '//')
}
