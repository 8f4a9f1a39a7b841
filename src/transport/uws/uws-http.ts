import { STATUS_CODES } from 'node:http'
import type { HttpRequest, HttpResponse, HttpRoute } from '../transport.js'
import type { UwsRequest, UwsResponse } from './library.js'

/** A copy of a request: the library's own is invalid after the handler has returned. */
export class CopiedRequest implements HttpRequest {
  readonly method: string
  readonly path: string
  private readonly query: string
  /** By lower-case name. A header that is sent several times is one list. RFC 9110 §5.3. */
  private readonly headers = new Map<string, string>()

  constructor(request: UwsRequest) {
    this.method = request.getMethod().toUpperCase()
    this.path = request.getUrl()
    this.query = request.getQuery()
    request.forEach((name, value) => {
      const before = this.headers.get(name)
      this.headers.set(name, before === undefined ? value : `${before}, ${value}`)
    })
  }

  header(name: string): string | undefined {
    return this.headers.get(name)
  }

  queryParameter(name: string): string | undefined {
    return new URLSearchParams(this.query).get(name) ?? undefined
  }
}

/** Writes a response. Must run where the response is corked: in its handler, or inside `response.cork`. */
export function writeResponse(
  response: UwsResponse,
  { status, headers = {}, body = '' }: HttpResponse,
  closeConnection = false,
): void {
  response.writeStatus(Buffer.from(`${status} ${STATUS_CODES[status] ?? ''}`))
  for (const [name, value] of Object.entries(headers)) {
    response.writeHeader(Buffer.from(name), Buffer.from(value))
  }
  response.end(Buffer.from(body), closeConnection)
}

/** Bytes of a refused body that are read and discarded before its connection is closed. */
const MAX_DISCARDED_BYTES = 8 * 1024 * 1024
const TOO_LARGE: HttpResponse = { status: 413, body: 'The body is too large.\n' }
const INTERNAL_ERROR: HttpResponse = { status: 500, body: 'Internal server error.\n' }

/** Handles the HTTP requests of a listener, and counts those in flight. */
export class HttpRequestHandler {
  private inFlight = 0
  private isClosing = false
  private resolveFinished: (() => void) | undefined

  constructor(private readonly onDefect: (error: unknown) => void) {}

  /** From now on every response ends its connection. Resolves when no request is being handled. */
  finish(): Promise<void> {
    this.isClosing = true
    if (this.inFlight === 0) return Promise.resolve()
    return new Promise((resolve) => {
      this.resolveFinished = resolve
    })
  }

  /** Reads the body up to the route's limit, calls the route's handler and responds, unless the client disconnected. */
  serve(route: HttpRoute, response: UwsResponse, nativeRequest: UwsRequest): void {
    const request = new CopiedRequest(nativeRequest)
    let isOver = false
    response.onAborted(() => {
      isOver = true
    })
    const finish = (result: HttpResponse, closeConnection = this.isClosing): void => {
      if (isOver) return
      isOver = true
      // A client would take a body after HEAD for the next response. RFC 9110 §9.3.2.
      const sent = request.method === 'HEAD' ? { ...result, body: '' } : result
      response.cork(() => writeResponse(response, sent, closeConnection))
    }
    // In flight from here, and not while the body arrives, which may never end.
    const handle = async (body: Buffer): Promise<void> => {
      this.inFlight++
      try {
        const { method, path } = request
        finish(
          await route.handle({
            method,
            path,
            body,
            header: (name) => request.header(name),
            queryParameter: (name) => request.queryParameter(name),
          }),
        )
      } catch (error) {
        this.onDefect(error)
        finish(INTERNAL_ERROR)
      } finally {
        this.inFlight--
        if (this.inFlight === 0) this.resolveFinished?.()
      }
    }

    // The response that refuses the request, if it is refused. Its body is read and discarded all the same: a client
    // whose connection is closed while it writes sees a broken pipe instead of the response.
    let refusal = route.refuse?.(request)
    if (request.method === 'GET' || request.method === 'HEAD') {
      if (refusal === undefined) void handle(Buffer.alloc(0))
      else finish(refusal)
      return
    }
    let chunks: Buffer[] = []
    let length = 0
    response.onData((chunk, isLast) => {
      if (isOver) return
      length += chunk.byteLength
      if (length > route.maxBodyBytes) refusal ??= TOO_LARGE
      if (refusal !== undefined) {
        chunks = []
        if (isLast || length > MAX_DISCARDED_BYTES) finish(refusal, true)
        return
      }
      // A copy, since the chunk is invalid after this callback has returned.
      chunks.push(Buffer.from(new Uint8Array(chunk)))
      if (isLast)
        void handle(chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks))
    })
  }
}
