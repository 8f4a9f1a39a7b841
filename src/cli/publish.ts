import { text } from 'node:stream/consumers'
import { type Config, environmentName } from '../config/settings.js'
import { parseExactly, stringifyExactly } from '../protocol/json-text.js'
import { readValidConfiguration, UsageError } from './configuration.js'

const TIMEOUT_MS = 5_000

export interface PublishOptions {
  /** For example `http://127.0.0.1:8000`; default: the public address of the configuration. */
  readonly url?: string
  readonly config?: string
}

/** Publishes through the server API. Throws one line for whoever typed the command. */
export async function publish(channel: string, data: string, options: PublishOptions): Promise<void> {
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
    throw new Error(`${address.origin} cannot be reached: ${describe(error)}`)
  })
  const answer = await response.text()
  const error = errorIn(answer)
  if (!response.ok || error !== undefined) {
    throw new Error(`not published: ${error ?? `HTTP ${response.status} ${answer.slice(0, 200)}`}`)
  }
}

/** JSON if it is JSON, else a string. */
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

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.cause instanceof Error ? error.cause.message : error.message
}

function errorIn(answer: string): string | undefined {
  try {
    return (JSON.parse(answer) as { error?: { message?: string } }).error?.message
  } catch {
    return undefined
  }
}
