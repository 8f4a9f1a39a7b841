import { setTimeout } from 'k6/timers'
import { type ErrorEvent, type MessageEvent, WebSocket } from 'k6/websockets'
import { connectionFailures, deliveriesReceived, deliveryLatency, sequenceErrors } from './metrics.js'
import { token } from './settings.js'

const MESSAGE_BYTES = 128

export function sleepUntil(timeMs: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, Math.max(0, timeMs - Date.now()))
  })
}

/** One connection in one channel. It checks that it receives each publisher's messages 0, 1, 2, … once and in order. */
export class RawClient {
  /** Deliveries that came once and in order. */
  receivedCount = 0
  private readonly nextSequences = new Map<string, number>()
  private isOpen = false
  private isDisconnecting = false

  private constructor(
    private readonly socket: WebSocket,
    private readonly name: string,
  ) {}

  /** Resolves to undefined, and counts a failure, when the connection does not open. */
  static connect(url: string, channel: string, name: string): Promise<RawClient | undefined> {
    return new Promise((resolve) => {
      const headers: Record<string, string> = token === '' ? {} : { 'X-Auth-Token': token }
      const socket = new WebSocket(`${url}/ws/${channel}`, null, { headers })
      const client = new RawClient(socket, name)
      socket.onopen = () => {
        client.isOpen = true
        resolve(client)
      }
      socket.onmessage = (event?: MessageEvent) => client.receive(String(event?.data))
      socket.onerror = (event?: ErrorEvent) => console.error(`${name}: ${event?.error}`)
      socket.onclose = () => {
        if (!client.isDisconnecting) connectionFailures.add(1)
        client.isOpen = false
        resolve(undefined)
      }
    })
  }

  /**
   * Publishes that many messages, `ratePerSecond` of them from `startMs` on, each with the time at which it was due.
   * When the connection has ended it stops, and subscribers miss the rest.
   */
  async publish(messages: number, ratePerSecond: number, startMs: number): Promise<void> {
    for (let sequence = 0; sequence < messages; sequence += 1) {
      const dueMs = startMs + (sequence * 1000) / ratePerSecond
      await sleepUntil(dueMs)
      if (!this.isOpen) return
      this.socket.send(`${this.name} ${sequence} ${dueMs} `.padEnd(MESSAGE_BYTES, '.'))
    }
  }

  disconnect(): void {
    this.isDisconnecting = true
    this.socket.close()
  }

  private receive(text: string): void {
    const [publisher = '', sequenceText, dueMsText] = text.split(' ')
    const sequence = Number(sequenceText)
    const expected = this.nextSequences.get(publisher) ?? 0
    this.nextSequences.set(publisher, Math.max(expected, sequence + 1))
    if (sequence !== expected) {
      sequenceErrors.add(1)
      if (!(sequence > expected)) return
    }
    this.receivedCount += 1
    deliveriesReceived.add(1)
    deliveryLatency.add(Date.now() - Number(dueMsText))
  }
}

/**
 * Waits until the clients together have received `expected` deliveries, at most until `deadlineMs`. Resolves with how
 * many they have received.
 */
export async function untilReceived(
  clients: readonly RawClient[],
  expected: number,
  deadlineMs: number,
): Promise<number> {
  const CHECK_INTERVAL_MS = 100
  for (;;) {
    const count = clients.reduce((sum, client) => sum + client.receivedCount, 0)
    if (count >= expected || Date.now() > deadlineMs) return count
    await sleepUntil(Date.now() + CHECK_INTERVAL_MS)
  }
}
