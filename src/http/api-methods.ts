import { closest } from 'fastest-levenshtein'
import type { Channels } from '../hub/channels.js'
import { errors, type ProtocolError } from '../protocol/errors.js'
import { stringifyExactly } from '../protocol/json-text.js'
import { presenceJson, publicationJson } from '../protocol/pushes.js'
import type { BatchedMethod } from './api-batch.js'
import {
  type ClusterNodes,
  controlConnections,
  disconnectQuestion,
  missingNodes,
  refreshQuestion,
  subscribeQuestion,
  unsubscribeQuestion,
} from './api-control.js'
import { errorReply } from './api-replies.js'
import type { ApiResult } from './api-results.js'
import { API_SCHEMAS, type ApiBody, type ApiMethod } from './api-schemas.js'

/** About the bytes of the largest reply to `history`: as many as a backend may need, and few for a node. */
const MAX_HISTORY_BYTES = 8 * 1024 * 1024

/** The part of `Channels` that the server API uses. */
export type ApiChannels = Pick<
  Channels,
  'publish' | 'history' | 'removeHistory' | 'presence' | 'presenceStats'
>

export interface ApiMethodsOptions {
  readonly maxMessageBytes: number
  readonly channels: ApiChannels
  readonly node: ClusterNodes
  /** Turns what a method throws into the error that its caller receives. */
  readonly toProtocolError: (thrown: unknown) => ProtocolError
}

/** The methods of the server API, each of which takes a JSON body and resolves with its result. */
export class ApiMethods {
  constructor(private readonly options: ApiMethodsOptions) {}

  /**
   * Resolves with the result, which `stringifyExactly` writes. Rejects with an error that `toProtocolError` converts.
   */
  async run(method: BatchedMethod, json: unknown): Promise<unknown> {
    const { channels } = this.options
    switch (method) {
      case 'publish':
        return this.publish(parseBody(method, json))
      case 'broadcast':
        return this.broadcast(parseBody(method, json))
      case 'subscribe':
        return this.subscribe(parseBody(method, json))
      case 'unsubscribe':
        return controlConnections(this.options.node, unsubscribeQuestion(parseBody(method, json)))
      case 'disconnect':
        return controlConnections(this.options.node, disconnectQuestion(parseBody(method, json)))
      case 'refresh':
        return controlConnections(this.options.node, refreshQuestion(parseBody(method, json)))
      case 'presence':
        return this.presence(parseBody(method, json))
      case 'presence_stats': {
        const { clients, users } = await channels.presenceStats(parseBody(method, json).channel)
        return { num_clients: clients, num_users: users } satisfies ApiResult<'presence_stats'>
      }
      case 'history':
        return this.history(parseBody(method, json))
      case 'history_remove':
        await channels.removeHistory(parseBody(method, json).channel)
        return {}
      case 'channels':
        return this.channels(parseBody(method, json))
      case 'info':
        parseBody(method, json)
        return this.info()
    }
  }

  private async publish(body: ApiBody<'publish'>): Promise<ApiResult<'publish'>> {
    return this.publishTo(body.channel, this.encode(body.data, 'data'), body)
  }

  /** Replies for each channel by itself: one channel's failure does not stop publishing to the others. */
  private async broadcast(body: ApiBody<'broadcast'>): Promise<ApiResult<'broadcast'>> {
    const data = this.encode(body.data, 'data')
    const responses = body.channels.map((channel) =>
      this.publishTo(channel, data, body).then(
        (result) => ({ result }),
        (thrown: unknown) => errorReply(this.options.toProtocolError(thrown)),
      ),
    )
    return { responses: await Promise.all(responses) }
  }

  private async publishTo(
    channel: string,
    data: Buffer,
    options: Omit<ApiBody<'publish'>, 'channel' | 'data'>,
  ): Promise<ApiResult<'publish'>> {
    if (options.delta) throw errors.notAvailable('publications are sent whole, delta cannot be true')
    const { exclude: excludedClient, tags } = options
    const position = await this.options.channels.publish({
      channel,
      source: 'api',
      data,
      isBinary: false,
      isJson: true,
      tags,
      excludedClient,
      skipHistory: options.skip_history,
      idempotencyKey: options.idempotency_key === '' ? undefined : options.idempotency_key,
    })
    return position === undefined ? {} : { offset: position.offset, epoch: position.epoch }
  }

  private subscribe(body: ApiBody<'subscribe'>): Promise<ApiResult<'subscribe'>> {
    const text = (value: unknown, what: string) =>
      value === undefined ? undefined : this.encode(value, what).toString()
    const question = subscribeQuestion(body, text(body.info, 'info'), text(body.data, 'data'))
    return controlConnections(this.options.node, question)
  }

  private async presence({ channel }: ApiBody<'presence'>): Promise<unknown> {
    return { presence: presenceJson(await this.options.channels.presence(channel)) }
  }

  private async history(body: ApiBody<'history'>): Promise<unknown> {
    const { channel, limit, since, reverse } = body
    const query = { limit, since, isReverse: reverse, maxBytes: MAX_HISTORY_BYTES }
    const { publications, position } = await this.options.channels.history(channel, query)
    return { publications: publications.map(publicationJson), offset: position.offset, epoch: position.epoch }
  }

  private async info(): Promise<ApiResult<'info'>> {
    const { answers, missing } = await this.options.node.info()
    return { nodes: [...answers], ...missingNodes(missing) }
  }

  private async channels({ pattern }: ApiBody<'channels'>): Promise<ApiResult<'channels'>> {
    const { answers, missing } = await this.options.node.channels(pattern)
    const total = new Map<string, number>()
    for (const answer of answers) {
      for (const [name, clients] of answer.channels) total.set(name, (total.get(name) ?? 0) + clients)
    }
    const channels = Object.fromEntries([...total].map(([name, clients]) => [name, { num_clients: clients }]))
    const isTruncated = answers.some((answer) => answer.isTruncated)
    return { channels, ...(isTruncated && { truncated: true }), ...missingNodes(missing) }
  }

  /**
   * Encodes one line of JSON. Throws error 106 where it is larger than a message may be, and 107 where it is too deep.
   */
  private encode(value: unknown, what: string): Buffer {
    const { maxMessageBytes } = this.options
    const encoded = Buffer.from(stringifyExactly(value))
    if (encoded.length <= maxMessageBytes) return encoded
    throw errors.limitExceeded(`${what} has ${encoded.length} bytes, the limit is ${maxMessageBytes}`)
  }
}

/** Checks and types a request body. Throws ProtocolError 107, whose message names each wrong field and the reason. */
export function parseBody<M extends ApiMethod>(method: M, json: unknown): ApiBody<M> {
  const parsed = API_SCHEMAS[method].safeParse(json)
  if (parsed.success) return parsed.data as ApiBody<M>
  const fields = Object.keys(API_SCHEMAS[method].shape)
  const problems = parsed.error.issues.map((issue) => {
    const what = issue.code === 'unrecognized_keys' ? unknownFields(issue, fields) : issue.message
    return `${issue.path.join('.') || 'body'}: ${what}`
  })
  throw errors.badRequest(problems.join('; '))
}

/** Bounds of an error message: a body may have any number of unknown fields, with names of any length. */
const MAX_NAMED_FIELDS = 5
const MAX_FIELD_LENGTH = 64

function unknownFields({ keys, path }: { keys: string[]; path: PropertyKey[] }, fields: string[]): string {
  const described = keys.slice(0, MAX_NAMED_FIELDS).map((key) => {
    const name = key.slice(0, MAX_FIELD_LENGTH)
    const hint = path.length === 0 && fields.length > 0 ? `; did you mean ${closest(name, fields)}?` : ''
    return `${name} is not a field${hint}`
  })
  return described.join(', ')
}
