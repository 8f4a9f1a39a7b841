import { text } from 'node:stream/consumers'
import { type Config, environmentName } from '../config/settings.js'
import { causeMessage } from '../error-message.js'
import { parseExactly, stringifyExactly } from '../protocol/json-text.js'
import { readValidConfiguration } from './configuration.js'
import { UsageError } from './usage-error.js'

const TIMEOUT_MS = 5_000

export interface PublishCommandOptions {
  /** For example `http://127.0.0.1:8000`; default: the public address of the configuration. */
  readonly url?: string
  readonly config?: string
}

/** Publishes through the server API. Rejects with an error whose message is one line for the operator. */
export async function publish(channel: string, data: string, options: PublishCommandOptions): Promise<void> {
  const { config } = readValidConfiguration({ config: options.config })
  if (config.apiKey === undefined) {
    throw new UsageError(`${environmentName('apiKey')} is not set: it is the key of the node's server API`)
  }
  const content = data === '-' ? await text(process.stdin) : data
  const address = new URL('/api/publish', baseUrl(options.url ?? publicUrl(config)))
  const response = await fetch(address, {
    method: 'POST',
    headers: { 'X-API-Key': config.apiKey },
    body: stringifyExactly({ channel, data: toJsonValue(content) }),
    signal: AbortSignal.timeout(TIMEOUT_MS),
  }).catch((error: unknown) => {
    throw new Error(`${address.origin} cannot be reached: ${causeMessage(error)}`, { cause: error })
  })
  const body = await response.text()
  const error = errorIn(body)
  if (!response.ok || error !== undefined) {
    throw new Error(`not published: ${error ?? `HTTP ${response.status} ${body.slice(0, 200)}`}`)
  }
}

/** Parses the content as JSON; any other text is a string. */
function toJsonValue(content: string): unknown {
  try {
    return parseExactly(content)
  } catch {
    return content
  }
}

function baseUrl(url: string): URL {
  if (!/^https?:/.test(url) || !URL.canParse(url)) {
    throw new UsageError(`bad address ${url}: expected http://<host>:<port> or https://<host>:<port>`)
  }
  return new URL(url)
}

function publicUrl({ host, port, tlsCert }: Config): string {
  const reachable = host === '0.0.0.0' || host === '::' ? 'localhost' : host
  const bracketed = reachable.includes(':') ? `[${reachable}]` : reachable
  return `${tlsCert === undefined ? 'http' : 'https'}://${bracketed}:${port}`
}

/** The message of an error reply of the server API; undefined for any other response. */
function errorIn(body: string): string | undefined {
  try {
    return (JSON.parse(body) as { error?: { message?: string } }).error?.message
  } catch {
    return undefined
  }
}
