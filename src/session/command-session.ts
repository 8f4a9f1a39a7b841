import type { Authenticator } from '../auth/authenticator.js'
import type { Broker } from '../broker/broker.js'
import { BrokerError } from '../protocol/broker-error.js'
import { type ClientLine, encodeErrorReply, encodeReply, readClientFrame } from '../protocol/client-frames.js'
import type { ClientCommand, CommandName } from '../protocol/client-requests.js'
import { Closing, DISCONNECTS } from '../protocol/closes.js'
import { ERRORS, errors, ProtocolError } from '../protocol/errors.js'
import type { JsonValue } from '../protocol/json-writer.js'
import { CommandQueue, MAX_QUEUED_COMMANDS } from './command-queue.js'
import type { Hooks } from './hooks.js'
import { Session, type SessionContext } from './session.js'

/** Commands of one client that may be at work at once, where they overlap at all. */
const MAX_RUNNING_COMMANDS = 1_024
/** Commands of one frame: what may be at work and wait. Also of those that are done or refused at once, which block others. */
const MAX_FRAME_COMMANDS = MAX_RUNNING_COMMANDS + MAX_QUEUED_COMMANDS
/** Refused `connect` commands of one connection: SDKs come back on a new one with a new token. */
const MAX_REFUSED_CONNECTS = 3
/** Errors in a row that are the client's fault, beside one for each channel that it may be in: tokens of all may expire. */
const MAX_SPARE_ERRORS = 1_000
/** Commands of one kind that may overlap: their effects keep their order, and waiting for each answer would add up. */
const OVERLAPPING: ReadonlySet<CommandName> = new Set(['subscribe', 'publish', 'rpc'])

/** Commands by which a client comes to channels and leaves them: the cluster has to be told of each. */
const MOVING: ReadonlySet<CommandName> = new Set(['subscribe', 'unsubscribe'])

/** What all sessions of the Centrifuge protocol share. */
export interface ClientSessionContext extends SessionContext {
  readonly broker: Broker
  readonly authenticator: Authenticator
  readonly hooks: Hooks
  readonly node: { readonly id: string; readonly version: string }
  readonly pingIntervalMs: number
  readonly pongTimeoutMs: number
  /** Time in which a connection has to say `connect`. */
  readonly staleTimeoutMs: number
  readonly maxChannels: number
  readonly maxCommandBytes: number
  /** What the commands that wait may have taken in frames: one frame's worth. */
  readonly maxQueuedBytes: number
  /** Publications that a client may read or recover at once. */
  readonly maxHistoryPublications: number
  /** About what may be in one answer: less than a client may leave unread, so that it is not closed for having asked. */
  readonly maxAnswerBytes: number
}

/** Answers a command, once; not at all when it throws. */
export type Reply = (result: JsonValue) => void

/** The commands of a connection: read, taken in their order, answered. What they do is the session's. */
export abstract class CommandSession extends Session<ClientSessionContext> {
  /** After a refused `connect` the client may try again; whatever else it sent with it is not looked at. */
  state: 'new' | 'connecting' | 'refused' | 'connected' = 'new'
  private queue: CommandQueue | undefined
  private running = 0
  private runningName: CommandName | undefined
  private isWaitingForRoom = false
  private refusedConnects = 0
  /** Since the last command that succeeded. */
  private errorsInARow = 0

  /** Does what a command asks. Returns nothing when it is done at once; throws or rejects with what it is refused for. */
  protected abstract run(command: ClientCommand, reply: Reply): Promise<void> | undefined
  protected abstract pong(): void

  message(frame: Buffer, isBinary: boolean): void {
    const { metrics, maxCommandBytes } = this.context
    metrics.messagesReceived.centrifuge.value++
    if (isBinary) {
      this.close(DISCONNECTS.inappropriateProtocol)
      return
    }
    let count = 0
    for (const line of readClientFrame(frame, maxCommandBytes)) {
      if (this.socket === undefined) return
      if (++count <= MAX_FRAME_COMMANDS) this.receive(line)
      else this.close(DISCONNECTS.tooManyRequests)
    }
  }

  /** Whatever waits is not done any more. */
  protected forgetCommands(): void {
    this.queue = undefined
  }

  private receive(line: ClientLine): void {
    if (line.type === 'pong') {
      this.pong()
      return
    }
    if (line.type === 'malformed') {
      this.context.log.debug({ ...this.facts(), why: line.why }, 'malformed frame')
      this.close(DISCONNECTS.badRequest)
      return
    }
    const isConnect = (line.type === 'command' ? line.command.name : line.name) === 'connect'
    if (this.state === 'new' && !isConnect) this.close(DISCONNECTS.badRequest)
    else if (this.state === 'refused' && !isConnect) return
    else if (line.type === 'command') this.enqueue(line.command, line.bytes)
    else {
      if (this.state === 'new') this.state = 'refused'
      this.refuse(line.id, line.name, line.error)
      this.blame()
    }
  }

  private enqueue(command: ClientCommand, bytes: number): void {
    if (this.queue === undefined && this.mayStart(command)) {
      this.start(command)
      return
    }
    this.queue ??= new CommandQueue(this.context.maxQueuedBytes)
    if (!this.queue.add(command, bytes)) this.close(DISCONNECTS.tooManyRequests)
  }

  private mayStart({ name }: ClientCommand): boolean {
    if (MOVING.has(name) && !this.hasRoom()) return false
    if (this.running === 0) return true
    // An application that is asked may answer in another order.
    const mayOverlap =
      OVERLAPPING.has(name) && (name !== 'publish' || this.context.hooks.publish === undefined)
    return mayOverlap && this.running < MAX_RUNNING_COMMANDS && this.runningName === name
  }

  /** Whether the cluster keeps up with this client's joins and leaves; where not, what waits is started once it does. */
  private hasRoom(): boolean {
    const room = this.context.presence.roomFor(this.client)
    if (room !== undefined && !this.isWaitingForRoom) {
      this.isWaitingForRoom = true
      void room.then(() => {
        this.isWaitingForRoom = false
        this.startQueued()
      })
    }
    return room === undefined
  }

  private start(command: ClientCommand): void {
    const { id, name } = command
    const startMs = performance.now()
    const reply = (result: JsonValue) => {
      this.errorsInARow = 0
      if (id > 0) this.sendText(encodeReply(id, name, result))
    }
    let done: Promise<void> | undefined
    try {
      done = this.run(command, reply)
    } catch (error) {
      this.failed(id, name, error)
    }
    if (done === undefined) {
      this.finished(name, startMs)
      return
    }
    this.running++
    this.runningName = name
    void done
      .catch((error: unknown) => this.failed(id, name, error))
      .then(() => {
        this.finished(name, startMs)
        this.running--
        this.startQueued()
      })
  }

  private finished(command: CommandName, startMs: number): void {
    this.context.metrics.commandDuration[command].observe((performance.now() - startMs) / 1_000)
  }

  private startQueued(): void {
    while (this.queue !== undefined && this.socket !== undefined) {
      const next = this.queue.first
      if (next === undefined) this.queue = undefined
      else if (!this.mayStart(next)) return
      else {
        this.queue.removeFirst()
        this.start(next)
      }
    }
  }

  private failed(id: number, name: string, error: unknown): void {
    if (this.state === 'connecting') {
      this.state = 'refused'
      this.queue = undefined
    }
    if (error instanceof Closing) {
      this.close(error.close)
      return
    }
    const refusal = this.toProtocolError(error)
    this.refuse(id, name, refusal)
    // What the relay or the application make of a command is not the client's fault, while it has to be known who it is.
    const isOurs = refusal.temporary || refusal.code === ERRORS.internal.code || name === 'rpc'
    if (!isOurs || this.state === 'refused') this.blame()
  }

  /** Counts an error of the client, which has just been told. */
  private blame(): void {
    const isTooMuch =
      this.state === 'refused'
        ? ++this.refusedConnects >= MAX_REFUSED_CONNECTS
        : ++this.errorsInARow > MAX_SPARE_ERRORS + this.context.maxChannels
    if (isTooMuch) this.close(DISCONNECTS.tooManyErrors)
  }

  private toProtocolError(error: unknown): ProtocolError {
    if (error instanceof ProtocolError) return error
    if (error instanceof BrokerError) return errors.internal(error.message, error.reason !== 'timeout')
    this.context.log.error({ ...this.facts(), err: error }, 'a command failed')
    return errors.internal('see the log of the node')
  }

  /** Encodes a text that only this client gets. */
  protected sendText(text: string): void {
    this.socket?.send(Buffer.from(text), false)
  }

  private refuse(id: number, name: string, error: ProtocolError): void {
    this.context.metrics.commandErrors.inc({ command: name, code: error.code })
    if (id > 0) this.sendText(encodeErrorReply(id, error))
  }
}
