/** Decides which pages' scripts may connect. RFC 6455 §10.2. */
export class OriginPolicy {
  /** Each a full origin, a host (with or without port), or `*`; hosts may begin with `*.`. */
  constructor(private readonly patterns: readonly string[]) {}

  /** A request without Origin is not from a browser and passes; a page of the node's own host passes too. */
  allows(origin: string | undefined, host: string | undefined): boolean {
    if (origin === undefined || this.patterns.includes('*')) return true
    if (!URL.canParse(origin)) return false
    const url = new URL(origin)
    if (url.origin === 'null' || url.origin !== origin.toLowerCase()) return false
    return url.host === host?.toLowerCase() || this.patterns.some((pattern) => matches(pattern, url))
  }
}

function matches(pattern: string, origin: URL): boolean {
  const [, scheme, wildcard, hostname, port] = /^(https?:\/\/)?(\*\.)?([^:]+)(?::(\d+))?$/.exec(pattern) ?? []
  if (hostname === undefined) return false
  if (scheme !== undefined && scheme !== `${origin.protocol}//`) return false
  // A scheme says which port is meant; a bare host means any.
  if (port !== undefined ? portOf(origin) !== port : scheme !== undefined && origin.port !== '') return false
  return wildcard === undefined ? origin.hostname === hostname : origin.hostname.endsWith(`.${hostname}`)
}

function portOf(url: URL): string {
  return url.port === '' ? (url.protocol === 'https:' ? '443' : '80') : url.port
}
