import { type ClientLine, encodeErrorReply, encodeReply, readClientFrame } from '../protocol/client-frames.js'
import type { ClientCommand, CommandName } from '../protocol/client-requests.js'
import { type Close, CloseConnection, DISCONNECTS } from '../protocol/closes.js'
import { codeLabel, ERRORS, type ProtocolError, toProtocolError } from '../protocol/errors.js'
import type { JsonValue } from '../protocol/json-writer.js'
import type { ClientSessionContext, ConnectState } from './client-connection.js'
import { CommandQueue, MAX_QUEUED_COMMANDS } from './command-queue.js'
import type { Reply } from './commands/command-handler.js'

/** Commands of one client that may run at once, where they overlap at all. */
const MAX_RUNNING_COMMANDS = 1_024
/** Commands of one frame: those that may run or wait. It counts also those that are done or refused at once, which block other clients. */
const MAX_FRAME_COMMANDS = MAX_RUNNING_COMMANDS + MAX_QUEUED_COMMANDS
/** Refused `connect` commands of one connection: SDKs reconnect with a new token on a new one. */
const MAX_REFUSED_CONNECTS = 3
/** Errors in a row that are the client's fault, beside one for each channel that it may be in: all its tokens may expire at once. */
const MAX_SPARE_ERRORS = 1_000
/** Commands of which several of one kind may run at once: their effects keep their order, and waiting for each reply would add up. */
const OVERLAPPING: ReadonlySet<CommandName> = new Set(['subscribe', 'publish', 'rpc'])
/** Commands that change presence, which is then written to the cluster. */
const CHANGING_PRESENCE: ReadonlySet<CommandName> = new Set(['subscribe', 'unsubscribe'])

/** What a runner needs of its session. */
export interface CommandHost {
  readonly context: ClientSessionContext
  readonly client: string
  /** Whether the socket is open. */
  readonly isOpen: boolean
  state: ConnectState
  /** Runs a command. Returns undefined when it is done at once; throws or rejects with the reason of a refusal. */
  run(command: ClientCommand, reply: Reply): Promise<void> | undefined
  /** The client answered a ping. */
  pong(): void
  sendText(text: string): void
  close(close: Close): void
  logFields(): object
}

/** Runs the commands of one connection: reads them from frames, starts them in their order, replies. */
export class CommandRunner {
  private queue: CommandQueue | undefined
  private running = 0
  private runningName: CommandName | undefined
  private isWaitingForPresence = false
  private refusedConnects = 0
  /** Errors since the last command that succeeded. */
  private errorsInARow = 0

  constructor(private readonly host: CommandHost) {}

  handleFrame(frame: Buffer): void {
    let count = 0
    for (const line of readClientFrame(frame, this.host.context.maxCommandBytes)) {
      if (!this.host.isOpen) return
      if (++count <= MAX_FRAME_COMMANDS) this.handleLine(line)
      else this.host.close(DISCONNECTS.tooManyRequests)
    }
  }

  /** Drops the commands that wait. */
  dropQueued(): void {
    this.queue = undefined
  }

  private handleLine(line: ClientLine): void {
    const { host } = this
    if (line.type === 'pong') {
      host.pong()
      return
    }
    if (line.type === 'malformed') {
      host.context.log.debug({ ...host.logFields(), why: line.reason }, 'malformed frame')
      host.close(DISCONNECTS.badRequest)
      return
    }
    const isConnect = (line.type === 'command' ? line.command.name : line.name) === 'connect'
    if (host.state === 'new' && !isConnect) host.close(DISCONNECTS.badRequest)
    else if (host.state === 'refused' && !isConnect) return
    else if (line.type === 'command') this.enqueue(line.command, line.bytes)
    else {
      if (host.state === 'new') host.state = 'refused'
      this.replyError(line.id, line.name, line.error)
      this.countClientError()
    }
  }

  private enqueue(command: ClientCommand, bytes: number): void {
    if (this.queue === undefined && this.mayStart(command)) {
      this.start(command)
      return
    }
    this.queue ??= new CommandQueue(this.host.context.maxQueuedBytes)
    if (!this.queue.add(command, bytes)) this.host.close(DISCONNECTS.tooManyRequests)
  }

  private mayStart({ name }: ClientCommand): boolean {
    if (CHANGING_PRESENCE.has(name) && this.mustWaitForPresence()) return false
    if (this.running === 0) return true
    // An application's hook may decide in another order.
    const mayOverlap =
      OVERLAPPING.has(name) && (name !== 'publish' || this.host.context.hooks.publish === undefined)
    return mayOverlap && this.running < MAX_RUNNING_COMMANDS && this.runningName === name
  }

  /** Whether the cluster lags behind this client's joins and leaves. Queued commands start once it has caught up. */
  private mustWaitForPresence(): boolean {
    const belowLimit = this.host.context.presenceAnnouncer.whenBelowLimit(this.host.client)
    if (belowLimit !== undefined && !this.isWaitingForPresence) {
      this.isWaitingForPresence = true
      void belowLimit.then(() => {
        this.isWaitingForPresence = false
        this.startQueued()
      })
    }
    return belowLimit !== undefined
  }

  private start(command: ClientCommand): void {
    const { id, name } = command
    const startMs = performance.now()
    const reply = (result: JsonValue) => {
      this.errorsInARow = 0
      if (id > 0) this.host.sendText(encodeReply(id, name, result))
    }
    let done: Promise<void> | undefined
    try {
      done = this.host.run(command, reply)
    } catch (error) {
      this.handleFailure(id, name, error)
    }
    if (done === undefined) {
      this.observe(name, startMs)
      return
    }
    this.running++
    this.runningName = name
    void done
      .catch((error: unknown) => this.handleFailure(id, name, error))
      .then(() => {
        this.observe(name, startMs)
        this.running--
        this.startQueued()
      })
  }

  private observe(command: CommandName, startMs: number): void {
    this.host.context.metrics.commandDuration[command].observe((performance.now() - startMs) / 1_000)
  }

  private startQueued(): void {
    while (this.queue !== undefined && this.host.isOpen) {
      const next = this.queue.first
      if (next === undefined) this.queue = undefined
      else if (!this.mayStart(next)) return
      else {
        this.queue.removeFirst()
        this.start(next)
      }
    }
  }

  private handleFailure(id: number, name: string, error: unknown): void {
    const { host } = this
    if (host.state === 'connecting') {
      host.state = 'refused'
      this.queue = undefined
    }
    if (error instanceof CloseConnection) {
      host.close(error.close)
      return
    }
    const refusal = toProtocolError(error, (defect) =>
      host.context.log.error({ ...host.logFields(), err: defect }, 'a command failed'),
    )
    this.replyError(id, name, refusal)
    // A failure of the relay or of the application is not the client's fault, except while the client is unknown.
    const isServersFault = refusal.temporary || refusal.code === ERRORS.internal.code || name === 'rpc'
    if (!isServersFault || host.state === 'refused') this.countClientError()
  }

  /** Counts an error of the client, and closes the connection when there are too many. */
  private countClientError(): void {
    const isTooMany =
      this.host.state === 'refused'
        ? ++this.refusedConnects >= MAX_REFUSED_CONNECTS
        : ++this.errorsInARow > MAX_SPARE_ERRORS + this.host.context.maxChannels
    if (isTooMany) this.host.close(DISCONNECTS.tooManyErrors)
  }

  private replyError(id: number, name: string, error: ProtocolError): void {
    this.host.context.metrics.commandErrors.inc({ command: name, code: codeLabel(error.code) })
    if (id > 0) this.host.sendText(encodeErrorReply(id, error))
  }
}
