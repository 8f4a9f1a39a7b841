/** A model of the documented results of each command in a session, independent of the implementation. */

/** Value of `FANFARE_NAMESPACES` of the nodes under test. */
export const NAMESPACES = [
  {
    name: '',
    allow_subscribe_for_client: true,
    allow_publish_for_client: true,
    allow_presence_for_subscriber: true,
    presence: true,
    join_leave: true,
  },
  {
    name: 'stored',
    allow_subscribe_for_client: true,
    allow_user_limited_channels: true,
    allow_publish_for_subscriber: true,
    allow_history_for_client: true,
    allow_history_for_subscriber: true,
    history_size: 4,
    history_ttl: '1m',
  },
  { name: 'shut' },
]
const HISTORY_SIZE = 4

/** Subscriptions of one connection: a low limit, so that runs reach it. */
export const MAX_CHANNELS = 3
/** Refused `connect` commands of one connection. */
const MAX_REFUSED_CONNECTS = 3

/** The kinds of tokens: nothing else of a token matters here. */
export type Token = 'none' | 'wrong' | 'expired' | 'static' | 'signed' | 'of another'

/** The user of all valid tokens, but those `of another`. */
export const USER = 'ann'

export interface Since {
  epoch: 'right' | 'wrong' | 'none'
  offset: number
}

/** A line of a frame that a client sends. `id` 0: none. */
export type Line =
  | { name: 'connect'; id: number; token: Token; channels: readonly string[]; since: Since | undefined }
  | { name: 'subscribe'; id: number; channel: string; token: Token; since: Since | undefined }
  | { name: 'unsubscribe' | 'presence' | 'presence_stats'; id: number; channel: string }
  | { name: 'publish'; id: number; channel: string; n: number }
  | {
      name: 'history'
      id: number
      channel: string
      limit: number
      since: Since | undefined
      reverse: boolean
    }
  | { name: 'ping' | 'rpc' | 'send'; id: number }
  | { name: 'refresh'; id: number; token: Token }
  | { name: 'sub_refresh'; id: number; channel: string; token: Token }
  /** A request without the form that its command requires. */
  | { name: 'malformed'; id: number; command: string; request: unknown }
  | { name: 'unknown'; id: number; command: string; request: unknown }
  | Garbage

/** A line that is no command. */
export interface Garbage {
  name: 'garbage'
  text: string
}

/** A publication that the client may receive. */
interface ExpectedPublication {
  readonly n: number
  /** Whether the client must receive it: unless it has unsubscribed since. */
  isRequired: boolean
}

export class SessionModel {
  /** Answers, each as `<id> <result>`: the client must receive all of them, unless the connection ends. */
  readonly answers: string[] = []
  /** The codes with one of which the connection ends; undefined while it stays open. */
  closeCodes: number[] | undefined
  /** The publications of the client by channel, in order. */
  readonly published = new Map<string, ExpectedPublication[]>()
  /** Every channel to which the client has had a subscription. */
  readonly everSubscribed = new Set<string>()
  private state: 'new' | 'refused' | 'connected' = 'new'
  private refusedConnects = 0
  private readonly channels = new Set<string>()
  private readonly streams = new Map<string, number[]>()

  /** Whether the client may send other commands than `connect`. */
  get isConnected(): boolean {
    return this.state === 'connected'
  }

  /** To be called with each line that the client sends, in order. */
  receive(line: Line): void {
    if (this.closeCodes !== undefined) {
      // Errors that the parser finds do not wait for the commands before them.
      if (line.name === 'garbage') this.closeCodes.push(3501)
      else if (line.name === 'malformed') this.answers.push(`${line.id} error 107`)
      else if (line.name === 'unknown') this.answers.push(`${line.id} error 104`)
      return
    }
    if (line.name === 'garbage') {
      this.end(3501)
      return
    }
    const isConnect = line.name === 'connect' || (line.name === 'malformed' && line.command === 'connect')
    if (!isConnect && this.state === 'new') this.end(3501)
    else if (!isConnect && this.state === 'refused') return
    else this.execute(line)
  }

  private execute(line: Exclude<Line, Garbage>): void {
    const answer = this.answerTo(line)
    if (typeof answer === 'number' && answer >= 3_000) {
      this.end(answer)
      return
    }
    if (line.id > 0 && answer !== undefined) {
      this.answers.push(`${line.id} ${typeof answer === 'number' ? `error ${answer}` : answer}`)
    }
    const isRefusal = this.state !== 'connected' && typeof answer === 'number'
    if (!isRefusal) return
    this.state = 'refused'
    if (++this.refusedConnects >= MAX_REFUSED_CONNECTS) this.end(3509)
  }

  /** The code of an error or a close, or a result; undefined: no answer. */
  private answerTo(line: Exclude<Line, Garbage>): number | string | undefined {
    switch (line.name) {
      case 'malformed':
        return 107
      case 'unknown':
        return 104
      case 'connect':
        return this.connect(line)
      case 'subscribe':
        return this.subscribe(line)
      case 'unsubscribe':
        this.removeSubscription(line.channel)
        return 'unsubscribe'
      case 'publish':
        return this.publish(line)
      case 'presence':
      case 'presence_stats':
        return (
          nameProblem(line.channel) ??
          (namespaceOf(line.channel) === '' && this.channels.has(line.channel) ? `${line.name} seen` : 103)
        )
      case 'history':
        return this.history(line)
      case 'ping':
        return 'ping'
      case 'send':
        return undefined
      case 'rpc':
        return 108
      case 'refresh':
        if (line.token === 'expired') return 109
        return line.token === 'static' || line.token === 'signed' ? 'refresh' : 3500
      case 'sub_refresh':
        if (!this.channels.has(line.channel)) return 103
        return tokenProblem(line.token) ?? 'sub_refresh'
    }
  }

  private connect({ token, channels, since }: Extract<Line, { name: 'connect' }>): number | string {
    if (this.state === 'connected') return 3501
    if (token === 'none') return 3501
    if (token === 'wrong') return 3500
    if (token === 'expired') return 109
    // Static tokens name no channels.
    const named = token === 'static' ? [] : channels
    if (named.length > MAX_CHANNELS) return 106
    this.state = 'connected'
    const results = named.map((channel) => {
      this.addSubscription(channel)
      return `${channel} ${this.resultIn(channel, since)}`
    })
    return ['connect', ...results.sort()].join(', ')
  }

  private subscribe({ channel, token, since }: Extract<Line, { name: 'subscribe' }>): number | string {
    const problem = nameProblem(channel)
    if (problem !== undefined) return problem
    const users = channel.split('#')[1]?.split(',')
    if (users !== undefined && !users.includes(USER)) return 103
    if (token !== 'none') {
      const wrong = tokenProblem(token)
      if (wrong !== undefined) return wrong
    } else if (channel.startsWith('$') || namespaceOf(channel) === 'shut') return 103
    if (this.channels.has(channel)) return 105
    if (this.channels.size >= MAX_CHANNELS) return 106
    this.addSubscription(channel)
    return `subscribe ${this.resultIn(channel, since)}`
  }

  private publish({ channel, n }: Extract<Line, { name: 'publish' }>): number | string {
    const problem = nameProblem(channel)
    if (problem !== undefined) return problem
    const isSubscribed = this.channels.has(channel)
    if (
      namespaceOf(channel) === '' ? channel.startsWith('$') : !isSubscribed || namespaceOf(channel) === 'shut'
    )
      return 103
    const expected = this.published.get(channel) ?? []
    this.published.set(channel, [...expected, { n, isRequired: isSubscribed }])
    this.streams.set(channel, [...this.streamOf(channel), n])
    return 'publish'
  }

  private history(line: Extract<Line, { name: 'history' }>): number | string {
    const { channel, limit, since, reverse } = line
    const problem = nameProblem(channel)
    if (problem !== undefined) return problem
    const isOpen = !channel.startsWith('$') && !channel.endsWith('#bob')
    if (namespaceOf(channel) !== 'stored' || !(isOpen || this.channels.has(channel))) return 103
    if (since?.epoch === 'wrong') return 112
    const stream = this.streamOf(channel)
    const stored = stream.map((n, index) => ({ n, offset: index + 1 })).slice(-HISTORY_SIZE)
    const found = stored.filter(
      ({ offset }) => since === undefined || (reverse ? offset < since.offset : offset > since.offset),
    )
    const numbers = (reverse ? found.reverse() : found).map(({ n }) => n)
    return `history ${JSON.stringify({ numbers: limit < 0 ? numbers : numbers.slice(0, limit), offset: stream.length })}`
  }

  /** The result of recovery in the result of a subscription. */
  private resultIn(channel: string, since: Since | undefined): string {
    if (since === undefined) return 'new'
    if (namespaceOf(channel) !== 'stored') return 'not recovered'
    const stream = this.streamOf(channel)
    const missed = stream.slice(since.offset)
    const isWhole = since.offset <= stream.length && missed.length <= HISTORY_SIZE
    if (since.epoch !== 'right' || !isWhole) return 'not recovered'
    return `recovered ${JSON.stringify(missed)}`
  }

  private streamOf(channel: string): readonly number[] {
    return this.streams.get(channel) ?? []
  }

  private addSubscription(channel: string): void {
    this.channels.add(channel)
    this.everSubscribed.add(channel)
  }

  private removeSubscription(channel: string): void {
    this.channels.delete(channel)
    for (const expected of this.published.get(channel) ?? []) expected.isRequired = false
  }

  private end(code: number): void {
    this.closeCodes = [code]
  }
}

function namespaceOf(channel: string): string {
  const [first = '', rest] = channel.replace(/^\$/, '').split(':')
  return rest === undefined ? '' : first
}

function nameProblem(channel: string): number | undefined {
  if (channel === '' || channel.includes('ü')) return 107
  return NAMESPACES.some(({ name }) => name === namespaceOf(channel)) ? undefined : 102
}

/** The error of a subscription token; `signed` ones are for its channel. */
function tokenProblem(token: Token): number | undefined {
  if (token === 'expired') return 109
  return token === 'signed' ? undefined : 103
}
