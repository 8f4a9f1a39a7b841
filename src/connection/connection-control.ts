import type { Logger } from '../log.js'
import { type Close, CloseConnection, UNSUBSCRIBES } from '../protocol/closes.js'
import { toProtocolError } from '../protocol/errors.js'
import type { Connection, ServerSubscription } from './connection.js'
import type { Connections } from './connections.js'

/** Selects all connections of a user, or fewer of them. */
export interface ConnectionSelector {
  /** Empty: of any user; then `client` or `session` is given. */
  readonly user: string
  readonly client?: string | undefined
  readonly session?: string | undefined
}

/** The result of a request about connections. */
export interface ControlResult {
  /** Number of connections that it was applied to. */
  readonly touched: number
  /** The error of the first connection that refused. */
  readonly refusal?: Refusal | undefined
}

interface Refusal {
  readonly code: number
  readonly message: string
  /** Undefined, which means false, in the answer of a node whose version does not have this field yet. */
  readonly temporary?: boolean | undefined
}

/** Applies requests of the server API to the connections of this node. */
export class ConnectionControl {
  constructor(
    private readonly connections: Connections,
    private readonly log: Logger,
  ) {}

  /** Resolves when all selected connections have subscribed or refused. */
  async subscribe(
    selector: ConnectionSelector,
    channel: string,
    options: ServerSubscription,
  ): Promise<ControlResult> {
    const selected = [...this.select(selector)]
    const results = await Promise.allSettled(selected.map((one) => one.subscribe(channel, options)))
    const refused = results.filter((result) => result.status === 'rejected')
    const touched = results.length - refused.length
    // A connection that closed meanwhile has refused nothing. All others are converted, so that each defect is logged.
    const [refusal] = refused
      .filter(({ reason }) => !(reason instanceof CloseConnection))
      .map(({ reason }) => this.toRefusal(reason))
    return refusal === undefined ? { touched } : { touched, refusal }
  }

  unsubscribe(selector: ConnectionSelector, channel: string): ControlResult {
    return this.apply(selector, (connection) => connection.unsubscribe(channel, UNSUBSCRIBES.server))
  }

  /** Closes the selected connections, but for the clients of the whitelist. */
  disconnect(
    selector: ConnectionSelector,
    { code, reason }: Close,
    whitelist: readonly string[],
  ): ControlResult {
    const spared = new Set(whitelist)
    return this.apply(selector, (connection) => {
      if (spared.has(connection.client)) return false
      connection.close({ code, reason })
      return true
    })
  }

  refresh(selector: ConnectionSelector, expiresAtMs: number | undefined): ControlResult {
    return this.apply(selector, (connection) => {
      connection.refresh(expiresAtMs)
      return true
    })
  }

  /** Sends JSON that belongs to no channel. */
  message(selector: ConnectionSelector, data: string): ControlResult {
    return this.apply(selector, (connection) => connection.pushMessage(data))
  }

  private apply(selector: ConnectionSelector, act: (connection: Connection) => boolean): ControlResult {
    let touched = 0
    // A copy: what is applied to a connection may remove it.
    for (const connection of [...this.select(selector)]) if (act(connection)) touched++
    return { touched }
  }

  private *select({ user, client, session }: ConnectionSelector): IterableIterator<Connection> {
    for (const connection of this.connections) {
      if (user !== '' && connection.user !== user) continue
      if (client !== undefined && connection.client !== client) continue
      if (session !== undefined && connection.sessionId !== session) continue
      yield connection
    }
  }

  private toRefusal(reason: unknown): Refusal {
    const { code, message, temporary } = toProtocolError(reason, (defect) =>
      this.log.error({ err: defect }, 'a subscription by the server API failed'),
    )
    return { code, message, temporary }
  }
}
