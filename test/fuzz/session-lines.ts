import fc from 'fast-check'
import { createSigner } from 'fast-jwt'
import { type Line, MAX_CHANNELS, type Since, type Token, USER } from './session-model.js'

export const HMAC_SECRET = 'a secret that signs tokens, long enough'
export const STATIC_TOKEN = 'the-static-token'

/** In a run, the tilde is replaced by the number of the run, so that its channels are empty. */
const STORED = ['stored:a~', '$stored:b~', 'stored:c~#ann,bob']
const CHANNELS = [
  'a~',
  'b~',
  '__proto__',
  '$c~',
  ...STORED,
  'stored:d~#bob',
  'shut:a~',
  'nowhere:a~',
  '',
  'ü',
]

const channel = fc.constantFrom(...CHANNELS, ...STORED)
const token = (...good: Token[]) =>
  fc.oneof(
    { weight: 8, arbitrary: fc.constantFrom(...good) },
    { weight: 1, arbitrary: fc.constantFrom<Token>('none', 'wrong', 'expired') },
  )
const since: fc.Arbitrary<Since | undefined> = fc.oneof(
  fc.constant(undefined),
  fc.record({
    epoch: fc.constantFrom('right', 'right', 'right', 'wrong', 'none'),
    offset: fc.nat({ max: 7 }),
  }),
)
/** Ids may repeat. */
const id = fc.oneof(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 2 ** 31 }))

const connect = fc.record({
  name: fc.constant('connect'),
  id,
  token: token('static', 'signed', 'signed'),
  channels: fc.uniqueArray(fc.constantFrom('a~', 'b~', ...STORED), { maxLength: MAX_CHANNELS + 1 }),
  since,
}) satisfies fc.Arbitrary<Line>

const harmless: fc.Arbitrary<Line> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      name: fc.constant('subscribe'),
      id,
      channel,
      token: token('none', 'none', 'none', 'signed', 'signed', 'of another'),
      since,
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ name: fc.constant('publish'), id, channel, n: fc.constant(0) }),
  },
  fc.record({ name: fc.constantFrom('unsubscribe', 'presence', 'presence_stats'), id, channel }),
  fc.record({
    name: fc.constant('history'),
    id,
    channel,
    limit: fc.integer({ min: -1, max: 6 }),
    since,
    reverse: fc.boolean(),
  }),
  fc.record({ name: fc.constantFrom('ping', 'rpc'), id }),
  fc.record({ name: fc.constant('send'), id: fc.constantFrom(0, 1) }),
  fc.record({ name: fc.constant('sub_refresh'), id, channel, token: token('signed') }),
)

const WRONG_REQUESTS: Readonly<Record<string, readonly unknown[]>> = {
  connect: [{ token: 5 }, { subs: [] }, { subs: { a: 5 } }],
  subscribe: [{}, { channel: 5 }, { channel: 'a~', offset: -1 }, { channel: 'a~', recover: 'yes' }],
  unsubscribe: [{}, { channel: null }],
  publish: [{ data: 1 }, { channel: 'a~' }, { channel: ['a~'], data: 1 }],
  presence: [{}, { channel: {} }],
  presence_stats: [{}, { channel: 1 }],
  history: [{}, { channel: 'a~', limit: -2 }, { channel: 'a~', since: 5 }, { channel: 'a~', reverse: 0 }],
  ping: [],
  rpc: [{ method: 5 }],
  refresh: [{ token: 5 }],
  sub_refresh: [{ token: '' }, { channel: 'a~', token: 5 }],
}
const malformed = fc.constantFrom(...Object.keys(WRONG_REQUESTS)).chain((command) =>
  fc.record({
    name: fc.constant('malformed'),
    id,
    command: fc.constant(command),
    request: fc.constantFrom(null, 5, 'x', [], true, ...(WRONG_REQUESTS[command] ?? [])),
  }),
)
const unknown = fc.record({
  name: fc.constant('unknown'),
  id,
  command: fc.constantFrom('shutdown', '__proto__', 'constructor', 'toString', ''),
  request: fc.jsonValue({ maxDepth: 3 }),
})
const garbage = fc.record({
  name: fc.constant('garbage'),
  text: fc.constantFrom(
    ...['{}', '[]', 'x', '5', 'null', '{"id":1}', '{"id":0,"ping":{}}', '{"id":-1,"ping":{}}'],
    ...['{"id":4294967296,"ping":{}}', '{"id":"1","ping":{}}', '{"ping":{}}', '{"id":1,"ping":{},"rpc":{}}'],
  ),
})
const refresh = fc.record({
  name: fc.constant('refresh'),
  id,
  token: token('static', 'signed', 'of another'),
})

const anyLine: fc.Arbitrary<Line> = fc.oneof(
  { weight: 60, arbitrary: harmless },
  { weight: 6, arbitrary: malformed },
  { weight: 2, arbitrary: unknown },
  { weight: 2, arbitrary: refresh },
  { weight: 1, arbitrary: connect },
  { weight: 1, arbitrary: garbage },
)

/** The lines that a client sends, by frame: most of the time it connects first. */
export const frames: fc.Arbitrary<Line[][]> = fc
  .tuple(
    fc.oneof({ weight: 9, arbitrary: connect }, { weight: 1, arbitrary: anyLine }),
    fc.array(fc.array(anyLine, { minLength: 1, maxLength: 12 }), { minLength: 1, maxLength: 5 }),
  )
  .map(([first, [second = [], ...others]]) => [[first, ...second], ...others])

/** The commands of one run, with channels and publications of its own. */
export class Run {
  private lastN = 0

  constructor(
    private readonly number: number,
    /** The epoch of a channel's stream. */
    private readonly epochOf: (channel: string) => string,
  ) {}

  static storedChannels(number: number): string[] {
    return STORED.map((name) => name.replace('~', `-${number}`))
  }

  own(line: Line): Line {
    const rename = (name: string) => name.replace('~', `-${this.number}`)
    if (line.name === 'connect') return { ...line, channels: line.channels.map(rename) }
    if (line.name === 'publish') return { ...line, channel: rename(line.channel), n: ++this.lastN }
    return 'channel' in line ? { ...line, channel: rename(line.channel) } : line
  }

  write(line: Line): string {
    if (line.name === 'garbage') return line.text
    const isKnown = line.name !== 'malformed' && line.name !== 'unknown'
    const command = JSON.stringify(isKnown ? line.name : line.command)
    const request = JSON.stringify(isKnown ? this.requestOf(line) : line.request)
    // Written as text, since `__proto__` is an ordinary field there.
    return line.id === 0 ? `{${command}:${request}}` : `{"id":${line.id},${command}:${request}}`
  }

  private requestOf(line: Exclude<Line, { name: 'garbage' | 'malformed' | 'unknown' }>): object {
    switch (line.name) {
      case 'connect': {
        const { channels } = line
        const subs = Object.fromEntries(channels.map((name) => [name, this.recovery(name, line.since)]))
        return {
          token: tokenOf(line.token, { channels }),
          subs,
          headers: { a: 'b' },
          name: 'fuzz',
          data: [1],
        }
      }
      case 'subscribe':
        return {
          channel: line.channel,
          token: tokenOf(line.token, { channel: line.channel }),
          ...this.recovery(line.channel, line.since),
          // As newer SDKs send it.
          delta: 'fossil',
          join_leave: line.id % 2 === 0,
        }
      case 'publish':
        return { channel: line.channel, data: { n: line.n, text: '\n\0"' } }
      case 'history': {
        const { channel: name, limit, since: from, reverse } = line
        return { channel: name, limit, since: from && this.position(name, from), reverse }
      }
      case 'refresh':
        return { token: tokenOf(line.token, {}) }
      case 'sub_refresh':
        return { channel: line.channel, token: tokenOf(line.token, { channel: line.channel }) }
      case 'unsubscribe':
      case 'presence':
      case 'presence_stats':
        return { channel: line.channel }
      case 'ping':
      case 'rpc':
      case 'send':
        return {}
    }
  }

  private recovery(name: string, from: Since | undefined): object {
    const isRecovering = from !== undefined
    return { recoverable: true, recover: isRecovering, ...(isRecovering && this.position(name, from)) }
  }

  private position(name: string, { epoch, offset }: Since): { epoch: string; offset: number } {
    return { epoch: { right: this.epochOf(name), wrong: 'another', none: '' }[epoch], offset }
  }
}

const sign = createSigner({ key: HMAC_SECRET, algorithm: 'HS256' })

/** A token with claims of its own, where it is signed. */
function tokenOf(token: Token, claims: object): string {
  switch (token) {
    case 'none':
      return ''
    case 'wrong':
      return 'a.b.c'
    case 'static':
      return STATIC_TOKEN
    case 'signed':
      return sign({ sub: USER, ...claims })
    case 'expired':
      return sign({ sub: USER, exp: 1, ...claims })
    case 'of another':
      return sign({ sub: 'eve', ...claims })
  }
}
