import { type Close, UNSUBSCRIBES } from '../protocol/closes.js'
import { errors, ProtocolError } from '../protocol/errors.js'
import type { Hub, Member, ServerSubscription } from './hub.js'

/** Which connections are meant: all of a user, or fewer. */
export interface Addressee {
  /** Empty: whoever it is, and then `client` or `session` says which. */
  readonly user: string
  readonly client?: string | undefined
  readonly session?: string | undefined
}

/** What became of a request about connections. */
export interface Outcome {
  /** Connections that it was done to. */
  readonly touched: number
  /** Why the first of those that refused did. */
  readonly refusal?: { readonly code: number; readonly message: string } | undefined
}

/** Does to this node's connections what backends ask for. */
export class ConnectionControl {
  constructor(private readonly hub: Hub) {}

  /** Resolves when all have subscribed or refused. */
  async subscribe(to: Addressee, channel: string, options: ServerSubscription): Promise<Outcome> {
    const members = [...this.addressed(to)]
    const results = await Promise.allSettled(members.map((member) => member.subscribe(channel, options)))
    const refused = results.filter((result) => result.status === 'rejected')
    const touched = results.length - refused.length
    return refused[0] === undefined ? { touched } : { touched, refusal: toRefusal(refused[0].reason) }
  }

  unsubscribe(to: Addressee, channel: string): Outcome {
    return this.each(to, (member) => member.unsubscribe(channel, UNSUBSCRIBES.server))
  }

  /** Closes all but the clients that are listed. */
  disconnect(to: Addressee, { code, reason }: Close, whitelist: readonly string[]): Outcome {
    const staying = new Set(whitelist)
    return this.each(to, (member) => {
      if (staying.has(member.client)) return false
      member.close({ code, reason })
      return true
    })
  }

  refresh(to: Addressee, expiresAtMs: number | undefined): Outcome {
    return this.each(to, (member) => {
      member.refresh(expiresAtMs)
      return true
    })
  }

  /** Sends JSON that belongs to no channel. */
  message(to: Addressee, data: string): Outcome {
    return this.each(to, (member) => member.pushMessage(data))
  }

  private each(to: Addressee, act: (member: Member) => boolean): Outcome {
    let touched = 0
    // A list first: what is done to a member may take it out of the hub.
    for (const member of [...this.addressed(to)]) if (act(member)) touched++
    return { touched }
  }

  private *addressed({ user, client, session }: Addressee): IterableIterator<Member> {
    for (const member of this.hub.connections()) {
      if (user !== '' && member.user !== user) continue
      if (client !== undefined && member.client !== client) continue
      if (session !== undefined && member.session !== session) continue
      yield member
    }
  }
}

function toRefusal(reason: unknown): { code: number; message: string } {
  const { code, message } =
    reason instanceof ProtocolError ? reason : errors.internal('the subscription failed')
  return { code, message }
}
