import { Secret } from '../auth/secret.js'
import { BrokerError } from '../broker/broker.js'
import type { Publisher } from '../hub/publisher.js'
import type { Logger } from '../log.js'
import type { Metrics } from '../metrics/metrics.js'
import type { Node } from '../node/node.js'
import { errors, ProtocolError } from '../protocol/errors.js'
import type { HttpRequest, HttpRequestWithBody, HttpResponse, HttpRoute } from '../transport/transport.js'
import { API_SCHEMAS, type ApiBody, type ApiMethod, isApiMethod } from './api-schemas.js'

const PATH_PREFIX = '/api/'
/** Room in a body beside the data of the largest message, which JSON may write twice as long. */
const BODY_MARGIN_BYTES = 64 * 1024

export interface ServerApiOptions {
  /** Undefined: every request is refused. */
  readonly apiKey: string | undefined
  readonly maxMessageBytes: number
  readonly publisher: Publisher
  readonly node: () => Node
  readonly metrics: Metrics
  readonly log: Logger
}

/** `POST /api/<method>` for backends: JSON in, `{"result"}` or `{"error"}` out. */
export class ServerApi {
  readonly route: HttpRoute
  private readonly key: Secret | undefined

  constructor(private readonly options: ServerApiOptions) {
    this.key = options.apiKey === undefined ? undefined : new Secret(options.apiKey)
    const maxBodyBytes = 2 * options.maxMessageBytes + BODY_MARGIN_BYTES
    this.route = {
      path: `${PATH_PREFIX}*`,
      maxBodyBytes,
      refuse: (request) => this.refuse(request),
      handle: (request) => this.handle(request),
    }
  }

  /** Before the body is read, so that nobody without the key makes this node keep one. */
  private refuse(request: HttpRequest): HttpResponse | undefined {
    const method = methodOf(request)
    const isKnown = isApiMethod(method)
    const refused = (status: number, error: ProtocolError, headers = {}) => {
      this.options.metrics.apiRequests.inc({ method: isKnown ? method : 'unknown', code: error.code })
      return reply(status, failure(error), headers)
    }
    if (!this.isAuthorized(request)) {
      const hint =
        this.key === undefined ? 'the server API is closed: no API key is configured' : 'wrong API key'
      return refused(401, errors.unauthorized(hint))
    }
    if (!isKnown) {
      const methods = Object.keys(API_SCHEMAS).join(', ')
      return refused(404, errors.badRequest(`no such method; there are ${methods}`))
    }
    if (request.method !== 'POST') return refused(405, errors.badRequest('use POST'), { Allow: 'POST' })
    return undefined
  }

  private async handle(request: HttpRequestWithBody): Promise<HttpResponse> {
    const method = methodOf(request)
    if (!isApiMethod(method)) throw new Error('a refused request was handled')
    const stopTimer = this.options.metrics.apiDuration.startTimer({ method })
    const { status, body, code } = await this.respond(method, request.body)
    stopTimer()
    this.options.metrics.apiRequests.inc({ method, code })
    return reply(status, body)
  }

  private isAuthorized(request: HttpRequest): boolean {
    const fromAuthorization = /^apikey +(\S+) *$/i.exec(request.header('authorization') ?? '')?.[1]
    const given = request.header('x-api-key') ?? fromAuthorization
    return given !== undefined && this.key?.equals(given) === true
  }

  private async respond(
    method: ApiMethod,
    text: Buffer,
  ): Promise<{ status: number; body: unknown; code: number }> {
    let json: unknown
    try {
      json = text.length === 0 ? {} : JSON.parse(text.toString())
    } catch {
      const error = errors.badRequest('the body is not JSON')
      return { status: 400, body: failure(error), code: error.code }
    }
    try {
      return { status: 200, body: { result: await this.run(method, json) }, code: 0 }
    } catch (thrown) {
      const error = this.toProtocolError(thrown)
      return { status: 200, body: failure(error), code: error.code }
    }
  }

  private run(method: ApiMethod, json: unknown): Promise<unknown> {
    switch (method) {
      case 'publish':
        return this.publish(parse(method, json))
      case 'broadcast':
        return this.broadcast(parse(method, json))
      case 'info':
        parse(method, json)
        return this.info()
      case 'channels':
        return this.channels(parse(method, json))
    }
  }

  private async publish({ channel, data, exclude }: ApiBody<'publish'>): Promise<unknown> {
    await this.options.publisher.publish('api', channel, this.encode(data), false, exclude)
    return {}
  }

  /** One channel's failure does not keep the others from their publication. */
  private async broadcast({ channels, data, exclude }: ApiBody<'broadcast'>): Promise<unknown> {
    const encoded = this.encode(data)
    const responses = channels.map((channel) =>
      this.options.publisher.publish('api', channel, encoded, false, exclude).then(
        () => ({ result: {} }),
        (thrown: unknown) => failure(this.toProtocolError(thrown)),
      ),
    )
    return { responses: await Promise.all(responses) }
  }

  private async info(): Promise<unknown> {
    const { answers, missing } = await this.options.node().info()
    return { nodes: answers, ...missingNodes(missing) }
  }

  private async channels({ pattern }: ApiBody<'channels'>): Promise<unknown> {
    const { answers, missing } = await this.options.node().channels(pattern)
    const total = new Map<string, number>()
    for (const sizes of answers as Readonly<Record<string, number>>[]) {
      for (const [name, clients] of Object.entries(sizes)) total.set(name, (total.get(name) ?? 0) + clients)
    }
    const channels = Object.fromEntries([...total].map(([name, clients]) => [name, { num_clients: clients }]))
    return { channels, ...missingNodes(missing) }
  }

  /** Raw clients get the JSON text of the data. */
  private encode(data: unknown): Buffer {
    const { maxMessageBytes } = this.options
    const encoded = Buffer.from(JSON.stringify(data))
    if (encoded.length <= maxMessageBytes) return encoded
    throw errors.limitExceeded(`data has ${encoded.length} bytes, the limit is ${maxMessageBytes}`)
  }

  private toProtocolError(thrown: unknown): ProtocolError {
    if (thrown instanceof ProtocolError) return thrown
    if (thrown instanceof BrokerError) return errors.internal(thrown.message, thrown.reason !== 'timeout')
    // JSON of an absurd depth can be parsed but not written again.
    if (thrown instanceof RangeError) return errors.badRequest('the data is nested too deeply')
    this.options.log.error({ err: thrown }, 'the server API failed')
    return errors.internal('see the log of the node')
  }
}

function methodOf({ path }: HttpRequest): string {
  return path.slice(PATH_PREFIX.length)
}

function parse<M extends ApiMethod>(method: M, json: unknown): ApiBody<M> {
  const parsed = API_SCHEMAS[method].safeParse(json)
  if (parsed.success) return parsed.data as ApiBody<M>
  const problems = parsed.error.issues.map(({ path, message }) => `${path.join('.') || 'body'}: ${message}`)
  throw errors.badRequest(problems.join('; '))
}

/** Named only where there are any: an answer that is not whole says so. */
function missingNodes(missing: readonly string[]) {
  return missing.length === 0 ? {} : { missing_nodes: missing }
}

function failure({ code, message, temporary }: ProtocolError) {
  return { error: { code, message, ...(temporary && { temporary }) } }
}

function reply(status: number, body: unknown, headers: Readonly<Record<string, string>> = {}): HttpResponse {
  return {
    status,
    headers: { 'Content-Type': 'application/json', ...headers },
    body: `${JSON.stringify(body)}\n`,
  }
}
