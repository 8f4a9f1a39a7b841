/** The prefix of a `Sec-WebSocket-Protocol` entry that carries a token: browsers can't set other headers. */
const TOKEN_SUBPROTOCOL = 'token.'

/** The parts of a handshake in which a token may come. */
export interface TokenSource {
  header(name: string): string | undefined
  queryParameter(name: string): string | undefined
}

/** Entries of the `Sec-WebSocket-Protocol` header, in the client's order. */
export function offeredSubprotocols(source: TokenSource): string[] {
  const header = source.header('sec-websocket-protocol') ?? ''
  return header
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '')
}

/** The token of a handshake: from the configured header, `Authorization: Bearer`, `?token=`, or a subprotocol, in that order. */
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
 * The subprotocol to answer with, since a browser gives up when it offered some and none was chosen: the first that is
 * not a token, so that the token isn't sent back unless it stands alone.
 */
export function chooseSubprotocol(source: TokenSource): string {
  const offered = offeredSubprotocols(source)
  return offered.find((entry) => !entry.startsWith(TOKEN_SUBPROTOCOL)) ?? offered[0] ?? ''
}
