import type { Redis } from 'ioredis'
import { parseHostAndPort } from '../config/redis-address.js'
import { errorMessage } from '../error-message.js'
import type { Logger } from '../log.js'
import { setDeadline } from './deadline.js'

const ASK_INTERVAL_MS = 1_000
/** Time between two questions where the last one has shown that the answer may be out of date, or was not answered. */
const ASK_SOON_MS = 100
const ASK_DEADLINE_MS = 1_000
/** The shortest time from a failure to the next question, to another server; the longest is twice as much. */
const RETRY_MS = 250

/** A server of a Redis Cluster, as `host:port`. */
export type ServerName = string

export interface SlotRange {
  readonly first: number
  readonly last: number
  readonly master: ServerName
}

export interface ClusterSlotsOptions {
  /** Servers that are asked first. */
  readonly seeds: readonly ServerName[]
  readonly connect: (server: ServerName) => Redis
  readonly log: Logger
  /** Called with the master of every slot that has one, whenever that was asked. */
  readonly onAnswer: (ranges: readonly SlotRange[]) => void
  /** Called with why a server did not answer. */
  readonly onFailure: (error: unknown) => void
}

/** Asks the servers of a Redis Cluster, one at a time, which master has which slots. */
export class ClusterSlots {
  /** Servers to ask, the current one first. */
  private servers: readonly ServerName[]
  private connection: { readonly server: ServerName; readonly redis: Redis } | undefined
  private connectionError: Error | undefined
  private timer: NodeJS.Timeout | undefined
  private dueMs = 0
  private isAsking = false
  private hasRotated = false
  /** Slots that had a master in the last answer that was used. */
  private covered = 0
  /** Whether the last answer knew fewer masters than the one before: another server may know more. */
  private isDoubtful = false
  /** What was logged since the last answer. */
  private readonly logged = new Set<string>()
  private isClosed = false

  constructor(private readonly options: ClusterSlotsOptions) {
    this.servers = options.seeds
  }

  start(): void {
    void this.ask()
  }

  /** Asks soon, since the last answer is out of date. */
  refresh(): void {
    if (!this.isAsking) this.schedule(ASK_SOON_MS)
  }

  /** Asks another server soon, since the current one may be cut off from the others. */
  askAnother(): void {
    if (this.isAsking) return
    this.rotate()
    this.schedule(ASK_SOON_MS)
  }

  /** Asks another server next time, whenever that is. To be called with an answer. */
  askAnotherNext(): void {
    this.rotate()
  }

  close(): void {
    this.isClosed = true
    clearTimeout(this.timer)
    this.connection?.redis.disconnect()
  }

  /** Never puts off a question: what calls for one may come more often than it is asked. */
  private schedule(delayMs: number): void {
    const dueMs = performance.now() + delayMs
    if (this.isClosed || (this.timer !== undefined && this.dueMs <= dueMs)) return
    clearTimeout(this.timer)
    this.dueMs = dueMs
    this.timer = setTimeout(() => void this.ask(), delayMs)
  }

  private async ask(): Promise<void> {
    const [server] = this.servers
    if (server === undefined) return
    this.timer = undefined
    this.isAsking = true
    this.hasRotated = false
    try {
      const answer = await this.askServer(server)
      if (!this.isClosed) this.answered(server, answer)
    } catch (error) {
      if (!this.isClosed) this.failed(server, error)
    } finally {
      this.isAsking = false
    }
  }

  private answered(server: ServerName, { ranges, servers }: Answer): void {
    this.logged.clear()
    this.servers = [server, ...new Set([...servers, ...this.options.seeds])].filter(
      (name, index) => index === 0 || name !== server,
    )
    const covered = ranges.reduce((sum, { first, last }) => sum + last - first + 1, 0)
    if (covered < this.covered && !this.isDoubtful) {
      this.isDoubtful = true
      this.rotate()
      this.schedule(ASK_SOON_MS)
      return
    }
    this.isDoubtful = false
    this.covered = covered
    this.options.onAnswer(ranges)
    this.schedule(ASK_INTERVAL_MS)
  }

  private failed(server: ServerName, error: unknown): void {
    const message = errorMessage(error)
    if (!this.logged.has(message)) {
      this.options.log.warn(
        { server, error: message },
        'a server of the Redis Cluster does not tell its slots',
      )
    }
    this.logged.add(message)
    this.options.onFailure(error)
    this.rotate()
    this.schedule(RETRY_MS * (1 + Math.random()))
  }

  /** Rejects where the server does not answer in time. */
  private async askServer(server: ServerName): Promise<Answer> {
    if (this.connection?.server !== server) {
      this.connection?.redis.disconnect()
      this.connectionError = undefined
      this.connection = { server, redis: this.options.connect(server) }
      this.connection.redis.on('error', (error: Error) => {
        this.connectionError ??= error
      })
    }
    const { redis } = this.connection
    let cancelDeadline: () => void = () => undefined
    const late = new Promise<never>((_, reject) => {
      cancelDeadline = setDeadline(ASK_DEADLINE_MS, () => reject(new Error('no answer in time')))
    })
    try {
      const reply = await Promise.race([redis.call('CLUSTER', 'SLOTS'), late])
      return parseSlots(reply, server)
    } catch (error) {
      // What has ended the connection says more than that it was ended.
      throw this.connection?.redis === redis ? (this.connectionError ?? error) : error
    } finally {
      cancelDeadline()
    }
  }

  /** Once for each question: otherwise it might come back to the same server. */
  private rotate(): void {
    if (this.hasRotated) return
    this.hasRotated = true
    const [first, ...others] = this.servers
    this.connection?.redis.disconnect()
    this.connection = undefined
    if (first !== undefined) this.servers = [...others, first]
  }
}

interface Answer {
  readonly ranges: readonly SlotRange[]
  /** All servers, masters first. */
  readonly servers: readonly ServerName[]
}

/** Throws an error where the reply is not one of CLUSTER SLOTS. */
function parseSlots(reply: unknown, asked: ServerName): Answer {
  if (!Array.isArray(reply)) throw new Error('no list of slots')
  const ranges: SlotRange[] = []
  const replicas: ServerName[] = []
  for (const [first, last, ...servers] of reply as [number, number, ...unknown[][]][]) {
    const [master, ...others] = servers.map((server) => nameOf(server, asked))
    if (master === undefined) continue
    // Throws where the name cannot be one of a server.
    parseHostAndPort(master)
    ranges.push({ first, last, master })
    replicas.push(...others)
  }
  if (ranges.length === 0) throw new Error('it has no slots: it is in no Redis Cluster, or not yet')
  return { ranges, servers: [...ranges.map(({ master }) => master), ...replicas] }
}

/** A server that does not know its own host leaves it out: it has the one under which it was asked. */
function nameOf([host, port]: readonly unknown[], asked: ServerName): ServerName {
  const isKnown = typeof host === 'string' && host !== '' && host !== '?'
  const name = isKnown ? (host.includes(':') ? `[${host}]` : host) : asked.slice(0, asked.lastIndexOf(':'))
  return `${name}:${String(port)}`
}
