import { createPublicKey, type JsonWebKey } from 'node:crypto'
import { causeMessage } from '../error-message.js'
import type { Logger } from '../log.js'
import { keyChecks, type SignatureCheck } from './signatures.js'

/** Between two successful fetches, while no token names an unknown key. */
const REFRESH_MS = 300_000
/** Between a failed fetch and the next one. */
const RETRY_MS = 5_000
/** The same until the first fetch succeeds: the node is not ready before. */
const FIRST_RETRY_MS = 1_000
/** Tokens may name any key, so that clients could cause fetches: these are at least this far apart. */
const MIN_FETCH_INTERVAL_MS = 30_000
const FETCH_TIMEOUT_MS = 5_000
const PUBLIC_KEY_ALGORITHM = /^(?:[RE]S(?:256|384|512)|EdDSA)$/
const MAX_SET_BYTES = 1024 ** 2
/** Keys of a set that are read; further ones are ignored. */
const MAX_KEYS = 100
/** Unknown key ids that are remembered; beyond that the oldest is forgotten, so that its key is `unknown` again. */
const MAX_REQUESTED_IDS = 1_000

interface RemoteKey {
  readonly id: string | undefined
  readonly checks: ReadonlyMap<string, SignatureCheck>
}

/**
 * What is known of the key of a token that could not be verified. `unknown`: the issuer may have published it since the
 * last fetch. `retired`: a fetch that began after the key was first requested did not find it. `mismatch`: the key is
 * known, so that the signature is wrong, or the lack of key ids (in the token or in the set) leaves the key open.
 */
export type RequestedKey = 'unknown' | 'retired' | 'mismatch'

/** Called after each fetch with the number of keys, or with undefined when it failed. */
export type FetchObserver = (keys: number | undefined) => void

/**
 * The public keys that an issuer of tokens publishes as a JWK Set (RFC 7517 §5). They are fetched periodically; the
 * keys of the last successful fetch stay valid while the issuer can't be reached.
 */
export class RemoteKeys {
  /** Resolves after the first successful fetch. Never rejects. */
  readonly loaded: Promise<void>
  private keys: readonly RemoteKey[] | undefined
  private isFetching = false
  private hasFailed = false
  private hasStopped = false
  /** When the last fetch ended, successful or not. Like all times here in milliseconds of `performance.now()`. */
  private lastFetchEndedAtMs = 0
  /** When the fetch began that returned the current keys. */
  private keysFetchBeganAtMs = 0
  /** When each unknown key was first requested, by key id. */
  private readonly requestedAtMs = new Map<string, number>()
  /** When the next fetch is due. Infinity: none is scheduled. */
  private nextFetchAtMs = Number.POSITIVE_INFINITY
  private timer: NodeJS.Timeout | undefined
  private resolveLoaded: () => void = () => undefined

  constructor(
    private readonly url: string,
    private readonly log: Logger,
    private readonly onFetched: FetchObserver,
  ) {
    this.loaded = new Promise((resolve) => {
      this.resolveLoaded = resolve
    })
  }

  start(): void {
    this.scheduleFetch(0)
  }

  stop(): void {
    this.hasStopped = true
    clearTimeout(this.timer)
  }

  /** Changes its identity with every successful fetch, so that callers can cache what they derive from the keys. */
  get version(): unknown {
    return this.keys
  }

  /** The checks of all keys that may have signed a token with this algorithm; a token or a key may lack an id. */
  checksFor(algorithm: string, keyId: string | undefined): readonly SignatureCheck[] {
    return (this.keys ?? [])
      .filter(({ id }) => keyId === undefined || id === undefined || id === keyId)
      .map(({ checks }) => checks.get(algorithm))
      .filter((check) => check !== undefined)
  }

  /**
   * Requests the key of a token that could not be verified: schedules a fetch for the earliest time that
   * `MIN_FETCH_INTERVAL_MS` allows, and returns what is known of the key now.
   */
  requestKey(algorithm: string | undefined, keyId: string | undefined): RequestedKey {
    if (algorithm === undefined || !PUBLIC_KEY_ALGORITHM.test(algorithm)) return 'mismatch'
    if (this.keys === undefined) return 'unknown'
    // Also when the signature seems wrong: the issuer may have replaced the key under the same id.
    this.scheduleFetch(this.lastFetchEndedAtMs + MIN_FETCH_INTERVAL_MS - performance.now())
    const haveIds = this.keys.some(({ id }) => id !== undefined)
    if (keyId === undefined || !haveIds || this.keys.some(({ id }) => id === keyId)) return 'mismatch'
    const requestedAtMs = this.requestedAtMs.get(keyId)
    if (requestedAtMs === undefined) {
      this.rememberRequest(keyId)
      return 'unknown'
    }
    return requestedAtMs < this.keysFetchBeganAtMs ? 'retired' : 'unknown'
  }

  private rememberRequest(keyId: string): void {
    this.requestedAtMs.set(keyId, performance.now())
    const [oldest] = this.requestedAtMs.keys()
    if (this.requestedAtMs.size > MAX_REQUESTED_IDS && oldest !== undefined) this.requestedAtMs.delete(oldest)
  }

  /** Fetches the keys once and schedules the next fetch. Never rejects. */
  private async fetch(): Promise<void> {
    this.isFetching = true
    const beganAtMs = performance.now()
    try {
      this.handleFetched(await fetchKeys(this.url), beganAtMs)
    } catch (error) {
      this.handleFailure(error)
    }
    this.isFetching = false
    this.lastFetchEndedAtMs = performance.now()
    this.nextFetchAtMs = Number.POSITIVE_INFINITY
    this.scheduleFetch(this.keys === undefined ? FIRST_RETRY_MS : this.hasFailed ? RETRY_MS : REFRESH_MS)
  }

  /** Schedules the next fetch. Does nothing during a fetch, which schedules the next one, or if one is due earlier. */
  private scheduleFetch(delayMs: number): void {
    const atMs = performance.now() + Math.max(0, delayMs)
    if (this.isFetching || this.hasStopped || atMs >= this.nextFetchAtMs) return
    clearTimeout(this.timer)
    this.nextFetchAtMs = atMs
    this.timer = setTimeout(() => this.fetch(), Math.max(0, delayMs)).unref()
  }

  private handleFetched(keys: readonly RemoteKey[], beganAtMs: number): void {
    if (this.hasFailed) this.log.info({}, 'the keys of tokens can be fetched again')
    this.hasFailed = false
    this.keys = keys
    this.keysFetchBeganAtMs = beganAtMs
    this.onFetched(keys.length)
    this.resolveLoaded()
  }

  private handleFailure(error: unknown): void {
    this.onFetched(undefined)
    if (this.hasFailed || this.hasStopped) return
    this.hasFailed = true
    const sentence =
      this.keys === undefined
        ? 'not ready: the keys of tokens cannot be fetched'
        : 'the keys of tokens cannot be fetched; those that are known stay good'
    this.log.warn({ error: causeMessage(error) }, sentence)
  }
}

/**
 * Rejects with an Error of one line when the set can't be fetched, or has no key that signatures can be checked with.
 */
async function fetchKeys(url: string): Promise<readonly RemoteKey[]> {
  const response = await fetch(url, {
    headers: { Accept: 'application/json' },
    redirect: 'error',
    signal: AbortSignal.timeout(FETCH_TIMEOUT_MS),
  })
  const body = await readBody(response)
  if (!response.ok) throw new Error(`the answer has status ${response.status}`)
  const set = JSON.parse(body) as { keys?: unknown } | null
  if (!Array.isArray(set?.keys)) throw new Error('the answer is no JWK Set: it has no list of keys')
  const keys = set.keys
    .slice(0, MAX_KEYS)
    .map(readKey)
    .filter((key) => key !== undefined)
  if (keys.length === 0) throw new Error('the JWK Set holds no key that signatures can be checked with')
  return keys
}

async function readBody(response: Response): Promise<string> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength
    if (bytes > MAX_SET_BYTES) throw new Error(`the answer has more than ${MAX_SET_BYTES} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}

/** Undefined for a key that can't verify signatures of tokens: a set may have keys for other uses and algorithms. */
function readKey(jwk: JsonWebKey | null): RemoteKey | undefined {
  if (typeof jwk !== 'object' || jwk === null) return undefined
  const { kid, alg, use = 'sig', key_ops: operations = ['verify'] } = jwk
  if (use !== 'sig' || !Array.isArray(operations) || !operations.includes('verify')) return undefined
  try {
    const checks = keyChecks(createPublicKey({ key: jwk, format: 'jwk' }))
    const allowed = new Map([...checks].filter(([algorithm]) => alg === undefined || alg === algorithm))
    return allowed.size === 0 ? undefined : { id: typeof kid === 'string' ? kid : undefined, checks: allowed }
  } catch {
    return undefined
  }
}
