import { API_KEY, type ApiAnswer, callApi } from '../support/api.js'
import { SdkClient } from '../support/sdk-client.js'
import { SdkLink } from '../support/sdk-link.js'
import type { Position } from './ledger/events.js'
import type { RawSubscriber } from './subscribers.js'
import type { Payload } from './wire-tap.js'

/** Longer than a node takes to answer a publish. */
const ANSWER_TIMEOUT_MS = 6_000
/** Attempts of a publisher that publishes again with an idempotency key. */
const MAX_ATTEMPTS = 20
const RETRY_MS = 200

/** What came of a publication. Refused: not accepted, or of unknown outcome. */
export interface Answer {
  readonly outcome: 'acknowledged' | 'refused' | 'unanswered'
  readonly position?: Position
  /** Of the slowest attempt. */
  readonly answeredMs: number
}

/** Publishes one publication after another. */
export interface Publisher {
  readonly name: string
  publish(channel: string, payload: Payload, repeated: () => void): Promise<Answer>
  close(): void
}

/** Calls the server API; after a failure it goes to the next address. With an idempotency key it publishes until it knows. */
export class ApiPublisher implements Publisher {
  constructor(
    readonly name: string,
    /** Where to publish after so many failures. */
    private readonly httpUrl: (failures: number) => string,
    private readonly isIdempotent: boolean,
  ) {}

  private failures = 0

  async publish(channel: string, payload: Payload, repeated: () => void): Promise<Answer> {
    const body = {
      channel,
      data: payload,
      ...(this.isIdempotent && { idempotency_key: payload.id }),
    }
    let answeredMs = 0
    for (let attempt = 1; ; attempt++) {
      const beganMs = performance.now()
      const position = await this.call(body)
      answeredMs = Math.max(answeredMs, performance.now() - beganMs)
      if (position !== undefined) return { outcome: 'acknowledged', ...position, answeredMs }
      this.failures++
      if (!this.isIdempotent || attempt === MAX_ATTEMPTS) return { outcome: 'refused', answeredMs }
      repeated()
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
    }
  }

  close(): void {
    // A request that is under way ends by itself.
  }

  /** Resolves with undefined unless the publication was accepted. */
  private async call(body: object): Promise<{ position?: Position } | undefined> {
    try {
      const response = await fetch(`${this.httpUrl(this.failures)}/api/publish`, {
        method: 'POST',
        headers: { 'X-API-Key': API_KEY },
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS),
      })
      const { result } = (await response.json()) as ApiAnswer['body']
      if (result === undefined) return undefined
      const { epoch, offset } = result as Partial<Position>
      return epoch === undefined || offset === undefined ? {} : { position: { epoch, offset } }
    } catch {
      return undefined
    }
  }
}

/** Publishes in several channels with one request of the server API. */
export class BatchPublisher {
  constructor(
    readonly name: string,
    private readonly node: { readonly httpUrl: string },
  ) {}

  /** Resolves with an answer for each publication, in their order; with none where the request failed. */
  async publish(
    publications: readonly { readonly channel: string; readonly data: Payload }[],
  ): Promise<readonly Answer[]> {
    const beganMs = performance.now()
    const commands = publications.map((publish) => ({ publish }))
    const { body } = await callApi(this.node, 'batch', { commands, parallel: true }).catch(() => ({
      body: {},
    }))
    const { result } = body as ApiAnswer['body']
    const replies = (result?.['replies'] ?? []) as readonly { publish?: Partial<Position> }[]
    const answeredMs = performance.now() - beganMs
    return replies.map(({ publish }) => {
      if (publish === undefined) return { outcome: 'refused', answeredMs }
      const { epoch = '', offset = 0 } = publish
      return { outcome: 'acknowledged', position: { epoch, offset }, answeredMs }
    })
  }
}

/** A client of the official SDK that publishes, in channels that it is not subscribed to. */
export class SdkPublisher implements Publisher {
  private readonly client: SdkClient

  constructor(
    readonly name: string,
    token: string,
    wsUrl: () => string,
  ) {
    this.client = new SdkClient('ws://unused', {
      token,
      websocket: new SdkLink(wsUrl).websocket,
      timeout: ANSWER_TIMEOUT_MS,
    })
    this.client.sdk.connect()
  }

  async publish(channel: string, payload: Payload): Promise<Answer> {
    let beganMs = performance.now()
    try {
      await this.client.sdk.ready(ANSWER_TIMEOUT_MS)
      beganMs = performance.now()
      await this.client.sdk.publish(channel, payload)
      return { outcome: 'acknowledged', answeredMs: performance.now() - beganMs }
    } catch {
      return { outcome: 'refused', answeredMs: performance.now() - beganMs }
    }
  }

  close(): void {
    this.client.close()
  }
}

/** A raw client, which publishes to its own channel and is never told what came of it. */
export class RawPublisher implements Publisher {
  constructor(
    readonly name: string,
    private readonly client: RawSubscriber,
  ) {}

  publish(_channel: string, payload: Payload): Promise<Answer> {
    this.client.publish(payload)
    return Promise.resolve({ outcome: 'unanswered', answeredMs: 0 })
  }

  close(): void {
    this.client.close()
  }
}
