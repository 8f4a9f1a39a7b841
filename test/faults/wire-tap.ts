import type { LinkObserver } from '../support/sdk-link.js'
import type { Delivered, LedgerEvent, Position } from './ledger/events.js'

/** What fault runs publish. */
export interface Payload {
  readonly id: string
  readonly padding?: string
}

interface Publication {
  readonly offset?: number
  readonly data: Payload
}

interface Command {
  readonly id?: number
  readonly subscribe?: { channel: string; recover?: boolean; epoch?: string; offset?: number }
  readonly unsubscribe?: { channel: string }
}

interface Message {
  readonly id?: number
  readonly subscribe?: { epoch?: string; offset?: number; recovered?: boolean; publications?: Publication[] }
  readonly unsubscribe?: object
  readonly push?: {
    readonly channel: string
    readonly pub?: Publication
    readonly unsubscribe?: { code: number }
  }
}

/**
 * Reads the Centrifuge protocol between an SDK and its node, and tells the ledger what passes: not what the SDK makes of
 * it, which could hide a mistake of the node.
 */
export class WireTap implements LinkObserver {
  /** By channel: the node's last word on where the subscriber is, and the id of the publication that came last. */
  readonly latest = new Map<string, { position: Position | undefined; id: string }>()
  private pending = new Map<number, Command>()
  private node = ''

  constructor(
    private readonly subscriber: string,
    private readonly nodeOf: (wsUrl: string) => string,
    private readonly record: (event: LedgerEvent) => void,
    /** Called with each answer to a `subscribe` or an `unsubscribe`, and each publication. */
    private readonly happened: (what: 'subscribed' | 'unsubscribed' | 'publication', channel: string) => void,
  ) {}

  connecting(wsUrl: string): void {
    this.node = this.nodeOf(wsUrl)
    this.pending = new Map()
  }

  sent(text: string): void {
    for (const command of linesOf<Command>(text)) {
      if (command.id !== undefined && (command.subscribe ?? command.unsubscribe) !== undefined) {
        this.pending.set(command.id, command)
      }
    }
  }

  received(text: string): void {
    for (const message of linesOf<Message>(text)) this.take(message)
  }

  closed(): void {
    this.record({ type: 'disconnected', atMs: performance.now(), subscriber: this.subscriber })
  }

  private take({ id, push, ...reply }: Message): void {
    if (push !== undefined) {
      this.takePush(push)
      return
    }
    const command = id === undefined ? undefined : this.pending.get(id)
    if (id !== undefined) this.pending.delete(id)
    if (command?.subscribe !== undefined && reply.subscribe !== undefined) {
      this.takeSubscribed(command.subscribe, reply.subscribe)
    }
    if (command?.unsubscribe !== undefined && reply.unsubscribe !== undefined) {
      const { channel } = command.unsubscribe
      this.record({ ...this.at(channel), type: 'unsubscribed' })
      this.happened('unsubscribed', channel)
    }
  }

  private takeSubscribed(
    asked: NonNullable<Command['subscribe']>,
    { epoch, offset = 0, recovered = false, publications = [] }: NonNullable<Message['subscribe']>,
  ): void {
    const { channel, recover = false } = asked
    if (epoch !== undefined) {
      const from = { epoch: asked.epoch ?? '', offset: asked.offset ?? 0 }
      const position = { epoch, offset }
      this.record({
        ...this.at(channel),
        type: 'subscribed',
        position,
        ...(recover && { from }),
        recovered,
        publications: publications.map(delivered),
      })
      this.latest.set(channel, { position, id: publications.at(-1)?.data.id ?? '' })
    }
    this.happened('subscribed', channel)
  }

  private takePush({ channel, pub, unsubscribe }: NonNullable<Message['push']>): void {
    if (unsubscribe !== undefined) {
      this.record({ ...this.at(channel), type: 'ended', code: unsubscribe.code, node: this.node })
    }
    if (pub === undefined) return
    const { offset, id } = delivered(pub)
    this.record(
      pub.offset === undefined
        ? { ...this.at(channel), type: 'heard', id }
        : { ...this.at(channel), type: 'delivered', offset, id },
    )
    this.latest.set(channel, { position: this.latest.get(channel)?.position, id })
    this.happened('publication', channel)
  }

  private at(channel: string): { atMs: number; subscriber: string; channel: string } {
    return { atMs: performance.now(), subscriber: this.subscriber, channel }
  }
}

function delivered({ offset = 0, data }: Publication): Delivered {
  return { offset, id: data.id }
}

/** The messages of a frame: one a line. */
function linesOf<T>(text: string): T[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as T)
}
