import type { PublicationContext, SubscribedContext } from 'centrifuge'

/** Checks the order and the payloads of the publications of one subscriber of a stream, and records violations. */
export class RecoveryLedger {
  readonly violations: string[] = []
  recovered = 0
  notRecovered = 0
  private epoch = ''
  private offset = 0

  constructor(
    private readonly name: string,
    /** The payload of each position, shared by all subscribers. */
    private readonly payloads: Map<string, string>,
  ) {}

  /** The offset of the latest publication, or of the position that the subscription began at. */
  get top(): number {
    return this.offset
  }

  readonly subscribed = ({ wasRecovering, recovered, streamPosition }: SubscribedContext): void => {
    if (streamPosition === undefined) {
      this.violations.push(`${this.name}: subscribed without a position`)
      return
    }
    if (wasRecovering && recovered) {
      this.recovered++
      if (streamPosition.epoch !== this.epoch)
        this.violations.push(`${this.name}: recovered in another epoch`)
      return
    }
    if (wasRecovering) this.notRecovered++
    this.epoch = streamPosition.epoch
    this.offset = streamPosition.offset
  }

  readonly published = ({ offset, data }: PublicationContext): void => {
    if (offset === undefined) {
      this.violations.push(`${this.name}: a publication without an offset`)
      return
    }
    if (offset !== this.offset + 1) {
      const what = offset <= this.offset ? 'again or out of order' : 'after a hole'
      this.violations.push(`${this.name}: ${offset} ${what}, the last one was ${this.offset}`)
    }
    this.offset = offset
    const position = `${this.epoch} ${offset}`
    const payload = JSON.stringify(data)
    const known = this.payloads.get(position)
    if (known === undefined) this.payloads.set(position, payload)
    else if (known !== payload) this.violations.push(`${this.name}: ${offset} is ${payload} and ${known}`)
  }
}
