import { createPublicKey, type JsonWebKey } from 'node:crypto'
import type { Logger } from '../log.js'
import { keyChecks, type SignatureCheck } from './signatures.js'

/** How often the keys are fetched, though nobody asks for another one. */
const REFRESH_MS = 300_000
/** From a fetch that failed to the next. */
const RETRY_MS = 5_000
/** The same while there are no keys at all. */
const FIRST_RETRY_MS = 1_000
/** A token may name any key: that makes nobody fetch more often than this. */
const LEAST_INTERVAL_MS = 30_000
const FETCH_TIMEOUT_MS = 5_000
const PUBLIC_KEY_ALGORITHM = /^(?:[RE]S(?:256|384|512)|EdDSA)$/
const MAX_SET_BYTES = 1024 ** 2
/** Keys of a set that are looked at. */
const MAX_KEYS = 100
/** Keys that are not known and were asked for; the one that came first is forgotten, and unknown again. */
const MAX_ASKED_FOR = 1_000

interface RemoteKey {
  readonly id: string | undefined
  readonly checks: ReadonlyMap<string, SignatureCheck>
}

/** Told of each fetch: how many keys there are now, or undefined where they could not be had. */
export type FetchObserver = (keys: number | undefined) => void

/**
 * The public keys that an issuer of tokens publishes as a JWK Set (RFC 7517 §5), fetched again and again. Those that were
 * fetched last stay good while the issuer can't be reached.
 */
export class RemoteKeys {
  /** Resolves once there are keys. */
  readonly loaded: Promise<void>
  private keys: readonly RemoteKey[] | undefined
  private isFetching = false
  private hasFailed = false
  private hasStopped = false
  private fetchedAtMs = 0
  /** When the fetch began that the keys are of. */
  private keysOfMs = 0
  /** When keys that are not known were first asked for, by id. */
  private readonly askedFor = new Map<string, number>()
  private nextMs = Number.POSITIVE_INFINITY
  private timer: NodeJS.Timeout | undefined
  private resolveLoaded: () => void = () => undefined

  constructor(
    private readonly url: string,
    private readonly log: Logger,
    private readonly observe: FetchObserver,
  ) {
    this.loaded = new Promise((resolve) => {
      this.resolveLoaded = resolve
    })
  }

  start(): void {
    this.fetchIn(0)
  }

  stop(): void {
    this.hasStopped = true
    clearTimeout(this.timer)
  }

  /** Another object whenever the keys have been fetched. */
  get version(): unknown {
    return this.keys
  }

  /** By each of the keys that may have signed with this algorithm; a token need not name its key. */
  checksFor(algorithm: string, keyId: string | undefined): readonly SignatureCheck[] {
    return (this.keys ?? [])
      .filter(({ id }) => keyId === undefined || id === undefined || id === keyId)
      .map(({ checks }) => checks.get(algorithm))
      .filter((check) => check !== undefined)
  }

  /**
   * Seeks the key of a token that could not be verified: the keys are fetched again, as soon as they may be. `unknown`:
   * it may be a new one. `retired`: it was not among those that have been fetched since it was first asked for.
   * `wrong`: it is known, or a token that does not name its key, or an issuer that does not name its keys, can't tell.
   */
  seek(algorithm: string | undefined, keyId: string | undefined): 'unknown' | 'retired' | 'wrong' {
    if (algorithm === undefined || !PUBLIC_KEY_ALGORITHM.test(algorithm)) return 'wrong'
    if (this.keys === undefined) return 'unknown'
    // Also where it looks like a wrong signature: another key may have come under the same name.
    this.fetchIn(this.fetchedAtMs + LEAST_INTERVAL_MS - performance.now())
    const areNamed = this.keys.some(({ id }) => id !== undefined)
    if (keyId === undefined || !areNamed || this.keys.some(({ id }) => id === keyId)) return 'wrong'
    const askedAtMs = this.askedFor.get(keyId)
    if (askedAtMs === undefined) {
      this.remember(keyId)
      return 'unknown'
    }
    return askedAtMs < this.keysOfMs ? 'retired' : 'unknown'
  }

  private remember(keyId: string): void {
    this.askedFor.set(keyId, performance.now())
    const [oldest] = this.askedFor.keys()
    if (this.askedFor.size > MAX_ASKED_FOR && oldest !== undefined) this.askedFor.delete(oldest)
  }

  /** Never rejects. */
  private async fetch(): Promise<void> {
    this.isFetching = true
    const beganAtMs = performance.now()
    try {
      this.fetched(await fetchKeys(this.url), beganAtMs)
    } catch (error) {
      this.failed(error)
    }
    this.isFetching = false
    this.fetchedAtMs = performance.now()
    this.nextMs = Number.POSITIVE_INFINITY
    this.fetchIn(this.keys === undefined ? FIRST_RETRY_MS : this.hasFailed ? RETRY_MS : REFRESH_MS)
  }

  /** Fetches then, unless it is fetching, or will earlier. */
  private fetchIn(delayMs: number): void {
    const atMs = performance.now() + Math.max(0, delayMs)
    if (this.isFetching || this.hasStopped || atMs >= this.nextMs) return
    clearTimeout(this.timer)
    this.nextMs = atMs
    this.timer = setTimeout(() => this.fetch(), Math.max(0, delayMs)).unref()
  }

  private fetched(keys: readonly RemoteKey[], beganAtMs: number): void {
    if (this.hasFailed) this.log.info({}, 'the keys of tokens can be fetched again')
    this.hasFailed = false
    this.keys = keys
    this.keysOfMs = beganAtMs
    this.observe(keys.length)
    this.resolveLoaded()
  }

  private failed(error: unknown): void {
    this.observe(undefined)
    if (this.hasFailed || this.hasStopped) return
    this.hasFailed = true
    const sentence =
      this.keys === undefined
        ? 'not ready: the keys of tokens cannot be fetched'
        : 'the keys of tokens cannot be fetched; those that are known stay good'
    this.log.warn({ error: reasonOf(error) }, sentence)
  }
}

/** Rejects where there is nothing that signatures could be checked with. */
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

/** Undefined for a key of another kind, or for something else than signatures: a set may hold keys for others. */
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

/** What a failed fetch says by itself is only that it failed. */
function reasonOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
  return cause instanceof Error ? cause.message : String(cause)
}
