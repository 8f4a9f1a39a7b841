/** Decides from which web pages a browser may connect. RFC 6455 §10.2. */
export class OriginPolicy {
  /**
   * Each pattern is a full origin, a host (with or without port), or `*`; a host may begin with `*.` for its
   * subdomains.
   */
  constructor(private readonly patterns: readonly string[]) {}

  /**
   * Whether a handshake with these headers `Origin` and `Host` may go on. One without `Origin` does not come from a
   * browser and may; so may a page of the node's own host.
   */
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
  // A pattern with a scheme but no port means the scheme's default port; a bare host means any port.
  if (port !== undefined ? portOf(origin) !== port : scheme !== undefined && origin.port !== '') return false
  return wildcard === undefined ? origin.hostname === hostname : origin.hostname.endsWith(`.${hostname}`)
}

function portOf(url: URL): string {
  return url.port === '' ? (url.protocol === 'https:' ? '443' : '80') : url.port
}
