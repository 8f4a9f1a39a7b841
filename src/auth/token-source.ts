/** Prefix of a `Sec-WebSocket-Protocol` entry that carries a token: scripts in browsers can't set any other header. */
const TOKEN_SUBPROTOCOL = 'token.'

/** The parts of a handshake that may contain a token. */
export interface TokenSource {
  header(name: string): string | undefined
  queryParameter(name: string): string | undefined
}

/** The non-empty entries of the `Sec-WebSocket-Protocol` header, in the client's order. */
export function offeredSubprotocols(source: TokenSource): string[] {
  const header = source.header('sec-websocket-protocol') ?? ''
  return header
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '')
}

/**
 * The token of a handshake: from the configured header, `Authorization: Bearer`, `?token=`, or a subprotocol, in that
 * order. Undefined when none of them has one.
 */
export function findToken(source: TokenSource, headerName: string): string | undefined {
  const bearer = /^Bearer +(\S+) *$/i.exec(source.header('authorization') ?? '')?.[1]
  const subprotocol = offeredSubprotocols(source).find((entry) => entry.startsWith(TOKEN_SUBPROTOCOL))
  return [
    source.header(headerName.toLowerCase()),
    bearer,
    source.queryParameter('token'),
    subprotocol?.slice(TOKEN_SUBPROTOCOL.length),
  ].find((token) => token !== undefined && token !== '')
}

/**
 * The subprotocol to answer a handshake with: the first one offered that is not a token, so that the token is only sent
 * back if it is the only one. Empty when none was offered; otherwise one must be chosen, or a browser fails the
 * connection.
 */
export function chooseSubprotocol(source: TokenSource): string {
  const offered = offeredSubprotocols(source)
  return offered.find((entry) => !entry.startsWith(TOKEN_SUBPROTOCOL)) ?? offered[0] ?? ''
}
