import { Secret } from '../auth/secret.js'
import type { Logger } from '../log.js'
import type { Metrics } from '../metrics/metrics.js'
import type { Node } from '../node/node.js'
import { codeLabel, errors, type ProtocolError, toProtocolError } from '../protocol/errors.js'
import { parseExactly } from '../protocol/json-text.js'
import type { HttpRequest, HttpRequestWithBody, HttpResponse, HttpRoute } from '../transport/transport.js'
import { runBatch } from './api-batch.js'
import { type ApiChannels, ApiMethods, parseBody } from './api-methods.js'
import { type ApiReply, errorReply } from './api-replies.js'
import { API_SCHEMAS, type ApiMethod, isApiMethod } from './api-schemas.js'
import { jsonResponse } from './json-response.js'

const PATH_PREFIX = '/api/'
/** Room in a body for all but the data of the largest message, which may be twice as long in JSON. */
const BODY_MARGIN_BYTES = 64 * 1024

export interface ServerApiOptions {
  /** Undefined: the server API is closed, every request is refused. */
  readonly apiKey: string | undefined
  readonly maxMessageBytes: number
  readonly channels: ApiChannels
  readonly node: Node
  readonly metrics: Metrics
  readonly log: Logger
}

/** `POST /api/<method>` for backends: JSON in, `{"result"}` or `{"error"}` out. */
export class ServerApi {
  readonly route: HttpRoute
  private readonly key: Secret | undefined
  private readonly methods: ApiMethods

  constructor(private readonly options: ServerApiOptions) {
    this.key = options.apiKey === undefined ? undefined : new Secret(options.apiKey)
    const { maxMessageBytes, channels, node } = options
    const toError = (thrown: unknown) => this.toProtocolError(thrown)
    this.methods = new ApiMethods({ maxMessageBytes, channels, node, toProtocolError: toError })
    const maxBodyBytes = 2 * maxMessageBytes + BODY_MARGIN_BYTES
    this.route = {
      path: `${PATH_PREFIX}*`,
      maxBodyBytes,
      refuse: (request) => this.refuse(request),
      handle: (request) => this.handle(request),
    }
  }

  /** Refuses a request before its body is read, so that a caller without the key cannot make this node buffer one. */
  private refuse(request: HttpRequest): HttpResponse | undefined {
    const method = methodOf(request)
    const isKnown = isApiMethod(method)
    const refused = (status: number, error: ProtocolError, headers = {}) => {
      this.count(isKnown ? method : 'unknown', error.code)
      return jsonResponse(status, errorReply(error), headers)
    }
    if (!this.isAuthorized(request)) {
      const hint =
        this.key === undefined ? 'the server API is closed: no API key is configured' : 'wrong API key'
      return refused(401, errors.unauthorized(hint))
    }
    if (!isKnown) {
      const methods = Object.keys(API_SCHEMAS).join(', ')
      return refused(404, errors.methodNotFound(`there are ${methods}`))
    }
    if (request.method !== 'POST') return refused(405, errors.badRequest('use POST'), { Allow: 'POST' })
    return undefined
  }

  private async handle(request: HttpRequestWithBody): Promise<HttpResponse> {
    const method = methodOf(request)
    if (!isApiMethod(method)) throw new Error('a refused request was handled')
    let json: unknown
    try {
      json = request.body.length === 0 ? {} : parseExactly(request.body.toString())
    } catch (thrown) {
      // A RangeError: the JSON is nested too deeply to be parsed.
      const isJson = thrown instanceof RangeError
      const error = errors.badRequest(isJson ? 'the data is nested too deeply' : 'the body is not JSON')
      this.count(method, error.code)
      return jsonResponse(isJson ? 200 : 400, errorReply(error))
    }
    return jsonResponse(200, await this.execute(method, json))
  }

  private isAuthorized(request: HttpRequest): boolean {
    const fromAuthorization = /^apikey +(\S+) *$/i.exec(request.header('authorization') ?? '')?.[1]
    const given = request.header('x-api-key') ?? fromAuthorization
    return given !== undefined && this.key?.equals(given) === true
  }

  /** Runs a method and counts the call; the commands of a batch are counted one by one. Never rejects. */
  private async execute(method: ApiMethod, json: unknown): Promise<ApiReply> {
    const { metrics } = this.options
    const stopTimer = metrics.apiDuration.startTimer({ method })
    try {
      const result =
        method === 'batch'
          ? await runBatch(parseBody(method, json), (...command) => this.execute(...command))
          : await this.methods.run(method, json)
      this.count(method, 0)
      return { result }
    } catch (thrown) {
      const error = this.toProtocolError(thrown)
      this.count(method, error.code)
      return errorReply(error)
    } finally {
      stopTimer()
    }
  }

  private toProtocolError(thrown: unknown): ProtocolError {
    return toProtocolError(thrown, (defect) =>
      this.options.log.error({ err: defect }, 'the server API failed'),
    )
  }

  private count(method: ApiMethod | 'unknown', code: number): void {
    this.options.metrics.apiRequests.inc({ method, code: code === 0 ? code : codeLabel(code) })
  }
}

function methodOf({ path }: HttpRequest): string {
  return path.slice(PATH_PREFIX.length)
}
