import type { LedgerEvent } from './ledger/events.js'
import type { Answer, BatchPublisher, Publisher } from './publishers.js'
import { Silence } from './silence.js'
import type { Payload } from './wire-tap.js'

/** A publisher, and the channels that it publishes to. */
export interface PublisherOf {
  readonly publisher: Publisher
  readonly channels: readonly string[]
}

export interface TrafficOptions {
  readonly publishers: readonly PublisherOf[]
  readonly publicationsPerSecond: number
  readonly random: () => number
  readonly record: (event: LedgerEvent) => void
  /** Called after each publication: what clients do goes by the number of these. */
  readonly attempted: () => void
}

/** Keeps several publishers publishing, each one publication after the other, until it is stopped. */
export class Traffic {
  attempts = 0
  acknowledgements = 0
  slowestAnswerMs = 0
  readonly silence = new Silence()
  private padding = ''
  private isStopped = false
  private readonly numbers = new Map<string, number>()
  private readonly waiting = new Set<() => void>()
  private running: Promise<unknown> = Promise.resolve()

  constructor(private readonly options: TrafficOptions) {}

  start(): void {
    this.running = Promise.all(this.options.publishers.map((one) => this.keepPublishing(one)))
  }

  /** Resolves when the last publication is answered. */
  async stop(): Promise<void> {
    this.halt()
    await this.running
  }

  /** Begins no further publication. */
  halt(): void {
    this.isStopped = true
  }

  pad(bytes: number): void {
    this.padding = 'x'.repeat(bytes)
  }

  /** Resolves as soon as a condition on its counts is true. */
  when(isTrue: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const check = () => {
        if (!isTrue()) return
        this.waiting.delete(check)
        resolve()
      }
      this.waiting.add(check)
      check()
    })
  }

  /** Publishes once, and records it. */
  async publish(publisher: Publisher, channel: string): Promise<{ id: string; answer: Answer }> {
    const { record } = this.options
    const payload = this.begin(publisher.name, channel)
    const { id } = payload
    const answer = await publisher.publish(channel, payload, () => record({ type: 'repeated', id }))
    this.end(id, answer)
    return { id, answer }
  }

  /** Publishes once in each channel with one request. */
  async publishBatch(publisher: BatchPublisher, channels: readonly string[]): Promise<void> {
    const publications = channels.map((channel) => ({ channel, data: this.begin(publisher.name, channel) }))
    const answers = await publisher.publish(publications)
    for (const [index, { data }] of publications.entries()) {
      this.end(data.id, answers[index] ?? { outcome: 'refused', answeredMs: 0 })
    }
  }

  private begin(publisher: string, channel: string): Payload {
    const key = `${channel} ${publisher}`
    const number = (this.numbers.get(key) ?? 0) + 1
    this.numbers.set(key, number)
    const id = `${key} ${number}`
    this.options.record({ type: 'sent', atMs: performance.now(), id, channel, publisher, number })
    return { id, ...(this.padding !== '' && { padding: this.padding }) }
  }

  private end(id: string, answer: Answer): void {
    const { record, attempted } = this.options
    this.attempts++
    if (answer.outcome === 'refused') record({ type: 'refused', id })
    if (answer.outcome === 'acknowledged') {
      const { position } = answer
      record({ type: 'acknowledged', id, ...(position !== undefined && { position }) })
      this.acknowledgements++
      this.silence.heard(performance.now())
    }
    this.slowestAnswerMs = Math.max(this.slowestAnswerMs, answer.answeredMs)
    attempted()
    for (const check of this.waiting) check()
  }

  private async keepPublishing({ publisher, channels }: PublisherOf): Promise<void> {
    const { random, publishers, publicationsPerSecond } = this.options
    const paceMs = (1_000 * publishers.length) / publicationsPerSecond
    while (!this.isStopped) {
      const channel = channels[Math.floor(random() * channels.length)] ?? ''
      const beganMs = performance.now()
      await this.publish(publisher, channel)
      // Between none and twice the pace, so that publishers do not go in step.
      const waitMs = 2 * paceMs * random() - (performance.now() - beganMs)
      await new Promise((resolve) => setTimeout(resolve, Math.max(1, waitMs)))
    }
  }
}
