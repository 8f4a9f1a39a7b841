/** What the documentation says that a session does with each command, said once more without anything of how it is done. */

/** Of the nodes that the model is for, as `FANFARE_NAMESPACES`. */
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
    name: 'kept',
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

/** Subscriptions of one connection, set as low as that so that they are reached. */
export const MAX_CHANNELS = 3
/** Refused `connect` commands of one connection. */
const MAX_REFUSED_CONNECTS = 3

/** What a token is, which is all that matters of it. */
export type Token = 'none' | 'wrong' | 'expired' | 'static' | 'signed' | 'of another'

/** The user of all good tokens, but those `of another`. */
export const USER = 'ann'

export interface Since {
  epoch: 'right' | 'wrong' | 'none'
  offset: number
}

/** What a client says in a line of a frame. `id` 0: none. */
export type Said =
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
  /** A request that does not have the form of its command's. */
  | { name: 'malformed'; id: number; command: string; request: unknown }
  | { name: 'unknown'; id: number; command: string; request: unknown }
  | Garbage

/** What is no command at all. */
export interface Garbage {
  name: 'garbage'
  text: string
}

/** A publication that the client is to hear of. */
interface Due {
  readonly n: number
  /** Unless it has left the channel since. */
  isRequired: boolean
}

export class SessionModel {
  /** Answers, each as `<id> <what>`: all of them have to come, unless the connection ends. */
  readonly answers: string[] = []
  /** With any of these the connection ends; undefined while it goes on. */
  closeCodes: number[] | undefined
  /** Numbers of what was published by the client, by channel, in order. */
  readonly published = new Map<string, Due[]>()
  readonly everIn = new Set<string>()
  private state: 'new' | 'refused' | 'connected' = 'new'
  private refusedConnects = 0
  private readonly channels = new Set<string>()
  private readonly streams = new Map<string, number[]>()

  /** Whether it may do more than say `connect`. */
  get isConnected(): boolean {
    return this.state === 'connected'
  }

  say(said: Said): void {
    if (this.closeCodes !== undefined) {
      // What is seen to be wrong when it is read is not kept waiting by commands that came before it.
      if (said.name === 'garbage') this.closeCodes.push(3501)
      else if (said.name === 'malformed') this.answers.push(`${said.id} error 107`)
      else if (said.name === 'unknown') this.answers.push(`${said.id} error 104`)
      return
    }
    if (said.name === 'garbage') {
      this.end(3501)
      return
    }
    const isConnect = said.name === 'connect' || (said.name === 'malformed' && said.command === 'connect')
    if (!isConnect && this.state === 'new') this.end(3501)
    else if (!isConnect && this.state === 'refused') return
    else this.take(said)
  }

  private take(said: Exclude<Said, Garbage>): void {
    const answer = this.answerTo(said)
    if (typeof answer === 'number' && answer >= 3_000) {
      this.end(answer)
      return
    }
    if (said.id > 0 && answer !== undefined) {
      this.answers.push(`${said.id} ${typeof answer === 'number' ? `error ${answer}` : answer}`)
    }
    const isRefusal = this.state !== 'connected' && typeof answer === 'number'
    if (!isRefusal) return
    this.state = 'refused'
    if (++this.refusedConnects >= MAX_REFUSED_CONNECTS) this.end(3509)
  }

  /** An error's or a close's code, or a result; undefined: nothing. */
  private answerTo(said: Exclude<Said, Garbage>): number | string | undefined {
    switch (said.name) {
      case 'malformed':
        return 107
      case 'unknown':
        return 104
      case 'connect':
        return this.connect(said)
      case 'subscribe':
        return this.subscribe(said)
      case 'unsubscribe':
        this.leave(said.channel)
        return 'unsubscribe'
      case 'publish':
        return this.publish(said)
      case 'presence':
      case 'presence_stats':
        return (
          nameProblem(said.channel) ??
          (namespaceOf(said.channel) === '' && this.channels.has(said.channel) ? `${said.name} seen` : 103)
        )
      case 'history':
        return this.history(said)
      case 'ping':
        return 'ping'
      case 'send':
        return undefined
      case 'rpc':
        return 108
      case 'refresh':
        if (said.token === 'expired') return 109
        return said.token === 'static' || said.token === 'signed' ? 'refresh' : 3500
      case 'sub_refresh':
        if (!this.channels.has(said.channel)) return 103
        return tokenProblem(said.token) ?? 'sub_refresh'
    }
  }

  private connect({ token, channels, since }: Extract<Said, { name: 'connect' }>): number | string {
    if (this.state === 'connected') return 3501
    if (token === 'none') return 3501
    if (token === 'wrong') return 3500
    if (token === 'expired') return 109
    // Static tokens name no channels.
    const named = token === 'static' ? [] : channels
    if (named.length > MAX_CHANNELS) return 106
    this.state = 'connected'
    const results = named.map((channel) => {
      this.join(channel)
      return `${channel} ${this.resultIn(channel, since)}`
    })
    return ['connect', ...results.sort()].join(', ')
  }

  private subscribe({ channel, token, since }: Extract<Said, { name: 'subscribe' }>): number | string {
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
    this.join(channel)
    return `subscribe ${this.resultIn(channel, since)}`
  }

  private publish({ channel, n }: Extract<Said, { name: 'publish' }>): number | string {
    const problem = nameProblem(channel)
    if (problem !== undefined) return problem
    const isSubscribed = this.channels.has(channel)
    if (
      namespaceOf(channel) === '' ? channel.startsWith('$') : !isSubscribed || namespaceOf(channel) === 'shut'
    )
      return 103
    const due = this.published.get(channel) ?? []
    this.published.set(channel, [...due, { n, isRequired: isSubscribed }])
    this.streams.set(channel, [...this.streamOf(channel), n])
    return 'publish'
  }

  private history(said: Extract<Said, { name: 'history' }>): number | string {
    const { channel, limit, since, reverse } = said
    const problem = nameProblem(channel)
    if (problem !== undefined) return problem
    const isOpen = !channel.startsWith('$') && !channel.endsWith('#bob')
    if (namespaceOf(channel) !== 'kept' || !(isOpen || this.channels.has(channel))) return 103
    if (since?.epoch === 'wrong') return 112
    const stream = this.streamOf(channel)
    const kept = stream.map((n, index) => ({ n, offset: index + 1 })).slice(-HISTORY_SIZE)
    const found = kept.filter(
      ({ offset }) => since === undefined || (reverse ? offset < since.offset : offset > since.offset),
    )
    const numbers = (reverse ? found.reverse() : found).map(({ n }) => n)
    return `history ${JSON.stringify({ numbers: limit < 0 ? numbers : numbers.slice(0, limit), offset: stream.length })}`
  }

  /** What a subscription's result says of recovery. */
  private resultIn(channel: string, since: Since | undefined): string {
    if (since === undefined) return 'new'
    if (namespaceOf(channel) !== 'kept') return 'not recovered'
    const stream = this.streamOf(channel)
    const missed = stream.slice(since.offset)
    const isWhole = since.offset <= stream.length && missed.length <= HISTORY_SIZE
    if (since.epoch !== 'right' || !isWhole) return 'not recovered'
    return `recovered ${JSON.stringify(missed)}`
  }

  private streamOf(channel: string): readonly number[] {
    return this.streams.get(channel) ?? []
  }

  private join(channel: string): void {
    this.channels.add(channel)
    this.everIn.add(channel)
  }

  private leave(channel: string): void {
    this.channels.delete(channel)
    for (const due of this.published.get(channel) ?? []) due.isRequired = false
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

/** Of a subscription's token, `signed` being for its channel. */
function tokenProblem(token: Token): number | undefined {
  if (token === 'expired') return 109
  return token === 'signed' ? undefined : 103
}
