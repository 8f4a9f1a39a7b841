import { beforeEach, describe, expect, it } from 'vitest'
import type { History } from '../../src/broker/broker.js'
import type { ClusterNodes } from '../../src/http/api-control.js'
import { type ApiChannels, ApiMethods } from '../../src/http/api-methods.js'
import { API_RESULTS, type ApiResult } from '../../src/http/api-results.js'
import type { ChannelPublishRequest } from '../../src/hub/channels.js'
import type { ClientInfo } from '../../src/protocol/client-info.js'
import { errors, toProtocolError } from '../../src/protocol/errors.js'
import { parseExactly, stringifyExactly } from '../../src/protocol/json-text.js'
import type { Publication, StreamPosition } from '../../src/protocol/publication.js'
import { clientInfo, publication } from '../contract/publications.js'

const POSITION: StreamPosition = { epoch: 'AbCd', offset: 7 }

/** Records the calls, and answers with what a test has set. */
class RecordingChannels implements ApiChannels {
  readonly calls: unknown[] = []
  publications: readonly Publication[] = []
  clients: ReadonlyMap<string, ClientInfo> = new Map()

  publish({ channel, data, ...more }: ChannelPublishRequest): Promise<StreamPosition | undefined> {
    this.calls.push([channel, Buffer.from(data).toString(), more])
    if (channel === 'nowhere') return Promise.reject(errors.unknownChannel('nowhere'))
    return Promise.resolve(channel === 'kept' ? POSITION : undefined)
  }

  history(channel: string, query: object): Promise<History> {
    this.calls.push([channel, query])
    return Promise.resolve({ publications: this.publications, position: POSITION })
  }

  removeHistory(channel: string): Promise<void> {
    this.calls.push(['remove', channel])
    return Promise.resolve()
  }

  presence(): Promise<ReadonlyMap<string, ClientInfo>> {
    return Promise.resolve(this.clients)
  }

  presenceStats(): Promise<{ clients: number; users: number }> {
    return Promise.resolve({ clients: 3, users: 2 })
  }
}

function askNoNode(): never {
  throw new Error('no other node is asked')
}

let channels: RecordingChannels
let methods: ApiMethods

function createMethods(node: ClusterNodes): ApiMethods {
  return new ApiMethods({
    maxMessageBytes: 100,
    channels,
    node,
    toProtocolError: (thrown) =>
      toProtocolError(thrown, (defect) => {
        throw defect
      }),
  })
}

beforeEach(() => {
  channels = new RecordingChannels()
  methods = createMethods({ info: askNoNode, channels: askNoNode, controlConnections: askNoNode })
})

/** Calls a method with a body of JSON text. Resolves with the text of the result. */
async function call(method: Parameters<ApiMethods['run']>[0], body: string): Promise<string> {
  const result = await methods.run(method, parseExactly(body))
  const text = stringifyExactly(result)
  expect(API_RESULTS[method].safeParse(JSON.parse(text)).error).toBeUndefined()
  return text
}

describe('publish', () => {
  it('returns the position of a publication in a stream, and nothing otherwise', async () => {
    expect(await call('publish', '{"channel":"kept","data":1}')).toBe('{"offset":7,"epoch":"AbCd"}')
    expect(await call('publish', '{"channel":"other","data":1}')).toBe('{}')
  })

  it('passes on every field', async () => {
    await call(
      'publish',
      '{"channel":"c","data":{"a": [9007199254740993]},"exclude":"x","skip_history":true,"tags":{"t":"1"},"idempotency_key":"k"}',
    )
    await call('publish', '{"channel":"c","data":null,"idempotency_key":""}')
    const common = { source: 'api', isBinary: false, isJson: true }
    expect(channels.calls).toEqual([
      [
        'c',
        '{"a":[9007199254740993]}',
        { ...common, excludedClient: 'x', tags: { t: '1' }, skipHistory: true, idempotencyKey: 'k' },
      ],
      ['c', 'null', { ...common, skipHistory: false }],
    ])
  })

  it('suggests the field that is nearest to an unknown one', async () => {
    await expect(call('publish', '{"chanel":"c","channel":"c","data":1}')).rejects.toMatchObject({
      code: 107,
      message: expect.stringContaining('body: chanel is not a field; did you mean channel?'),
    })
    await expect(call('info', '{"channel":"c"}')).rejects.toMatchObject({
      message: expect.stringMatching(/body: channel is not a field$/),
    })
  })

  it('names a few of many unknown fields, each truncated', async () => {
    const body = Object.fromEntries(Array.from({ length: 1_000 }, (_, i) => [`${i}${'x'.repeat(1_000)}`, 1]))
    const failure = await call('info', JSON.stringify(body)).catch((error: Error) => error)
    expect((failure as Error).message.length).toBeLessThan(600)
  })

  it('refuses delta, which is not available', async () => {
    await expect(call('publish', '{"channel":"c","data":1,"delta":true}')).rejects.toMatchObject({
      code: 108,
    })
    expect(await call('publish', '{"channel":"c","data":1,"delta":false}')).toBe('{}')
  })

  it('is answered for each channel of a broadcast', async () => {
    const result = await call('broadcast', '{"channels":["kept","nowhere","other"],"data":1}')
    expect((JSON.parse(result) as ApiResult<'broadcast'>).responses).toEqual([
      { result: { offset: 7, epoch: 'AbCd' } },
      { error: { code: 102, message: 'unknown channel: nowhere' } },
      { result: {} },
    ])
  })
})

describe('history', () => {
  it('reads what the body asks for, and only the position by default', async () => {
    const whole = '{"channel":"c","limit":-1,"reverse":true,"since":{"epoch":"e","offset":3}}'
    await call('history', whole)
    await call('history', '{"channel":"c"}')
    expect(channels.calls).toEqual([
      ['c', { limit: -1, since: { epoch: 'e', offset: 3 }, isReverse: true, maxBytes: 8 * 1024 * 1024 }],
      ['c', { limit: 0, since: undefined, isReverse: false, maxBytes: 8 * 1024 * 1024 }],
    ])
  })

  it('returns JSON as it was published, other text as a string, and binary data in Base64', async () => {
    const at = (offset: number) => ({ position: { epoch: 'AbCd', offset } })
    const info = { ...clientInfo('c-1', 'ann'), connInfo: '{"n":9007199254740993}', chanInfo: '[]' }
    channels.publications = [
      publication(Buffer.from('{"n":9007199254740993}'), { ...at(4), isJson: true, info, tags: { t: '1' } }),
      publication(Buffer.from(' [1,\n 9007199254740993] '), at(5)),
      publication(Buffer.from('hello "you"'), at(6)),
      publication(Buffer.of(0xff, 0), { ...at(7), isBinary: true }),
    ]
    const [first, ...others] = [
      '{"data":{"n":9007199254740993},"info":{"user":"ann","client":"c-1","conn_info":{"n":9007199254740993},"chan_info":[]},"offset":4,"tags":{"t":"1"},"time":1800000000000}',
      '{"data": [1,  9007199254740993] ,"offset":5,"time":1800000000000}',
      '{"data":"hello \\"you\\"","offset":6,"time":1800000000000}',
      '{"data":{"base64":"/wA="},"offset":7,"time":1800000000000}',
    ]
    expect(await call('history', '{"channel":"c","limit":10}')).toBe(
      `{"publications":[${[first, ...others].join(',')}],"offset":7,"epoch":"AbCd"}`,
    )
  })

  it('can be removed', async () => {
    expect(await call('history_remove', '{"channel":"c"}')).toBe('{}')
    expect(channels.calls).toEqual([['remove', 'c']])
  })
})

describe('presence', () => {
  it('returns the clients of the channel by their ids', async () => {
    channels.clients = new Map([
      ['c-1', { ...clientInfo('c-1', 'ann'), connInfo: '{"a":1}' }],
      ['c-2', clientInfo('c-2', '')],
    ])
    expect(JSON.parse(await call('presence', '{"channel":"c"}'))).toEqual({
      presence: {
        'c-1': { client: 'c-1', user: 'ann', conn_info: { a: 1 } },
        'c-2': { client: 'c-2', user: '' },
      },
    })
  })

  it('counts clients and users', async () => {
    expect(await call('presence_stats', '{"channel":"c"}')).toBe('{"num_clients":3,"num_users":2}')
  })
})

describe('subscribe', () => {
  it.each([
    [true, true],
    [false, false],
    // The answer of a node of an older version.
    [undefined, false],
  ])('is refused as a node refused it: temporary is %s there, and %s here', async (given, temporary) => {
    const refusal = { code: 100, message: 'internal server error: no relay', temporary: given }
    const controlConnections = () =>
      Promise.resolve({ answers: [{ touched: 0 }, { touched: 0, refusal }], missing: [] })
    const body = parseExactly('{"user":"ann","channel":"room"}')
    const refused = createMethods({ info: askNoNode, channels: askNoNode, controlConnections })
    await expect(refused.run('subscribe', body)).rejects.toMatchObject({ code: 100, temporary })
  })

  it('refuses infos and data that are larger than a message, before any node is asked', async () => {
    const body = (field: string) => `{"user":"ann","channel":"c","${field}":"${'x'.repeat(99)}"}`
    for (const field of ['info', 'data']) {
      await expect(call('subscribe', body(field))).rejects.toMatchObject({
        code: 106,
        message: `limit exceeded: ${field} has 101 bytes, the limit is 100`,
      })
    }
  })
})
