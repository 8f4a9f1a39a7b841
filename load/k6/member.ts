import { setTimeout } from 'k6/timers'
import { type ErrorEvent, type MessageEvent, WebSocket } from 'k6/websockets'
import { connectionFailures, deliveryLatency, received, sequenceErrors } from './measures.js'
import { token } from './settings.js'

const MESSAGE_BYTES = 128

export function sleepUntil(timeMs: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, Math.max(0, timeMs - Date.now()))
  })
}

/** One connection in one room. It checks that it hears each speaker's messages 0, 1, 2, … once and in order. */
export class Member {
  /** Deliveries that came once and in order. */
  receivedCount = 0
  private readonly nextSequences = new Map<string, number>()
  private isOpen = false
  private isLeaving = false

  private constructor(
    private readonly socket: WebSocket,
    private readonly name: string,
  ) {}

  /** Resolves to undefined, and counts a failure, when the connection does not open. */
  static connect(url: string, room: string, name: string): Promise<Member | undefined> {
    return new Promise((resolve) => {
      const headers: Record<string, string> = token === '' ? {} : { 'X-Auth-Token': token }
      const socket = new WebSocket(`${url}/ws/${room}`, null, { headers })
      const member = new Member(socket, name)
      socket.onopen = () => {
        member.isOpen = true
        resolve(member)
      }
      socket.onmessage = (event?: MessageEvent) => member.hear(String(event?.data))
      socket.onerror = (event?: ErrorEvent) => console.error(`${name}: ${event?.error}`)
      socket.onclose = () => {
        if (!member.isLeaving) connectionFailures.add(1)
        member.isOpen = false
        resolve(undefined)
      }
    })
  }

  /**
   * Says `messages` things, `ratePerSecond` of them from `startMs` on, each with the time at which it was due. Without
   * a connection it falls silent, and the rest is missing where it was to be heard.
   */
  async speak(messages: number, ratePerSecond: number, startMs: number): Promise<void> {
    for (let sequence = 0; sequence < messages; sequence += 1) {
      const dueMs = startMs + (sequence * 1000) / ratePerSecond
      await sleepUntil(dueMs)
      if (!this.isOpen) return
      this.socket.send(`${this.name} ${sequence} ${dueMs} `.padEnd(MESSAGE_BYTES, '.'))
    }
  }

  leave(): void {
    this.isLeaving = true
    this.socket.close()
  }

  private hear(text: string): void {
    const [speaker = '', sequenceText, dueMsText] = text.split(' ')
    const sequence = Number(sequenceText)
    const expected = this.nextSequences.get(speaker) ?? 0
    this.nextSequences.set(speaker, Math.max(expected, sequence + 1))
    if (sequence !== expected) {
      sequenceErrors.add(1)
      if (!(sequence > expected)) return
    }
    this.receivedCount += 1
    received.add(1)
    deliveryLatency.add(Date.now() - Number(dueMsText))
  }
}

/** Waits until the members have received `expected` deliveries together, at most until `deadlineMs`; returns how many. */
export async function untilReceived(
  members: readonly Member[],
  expected: number,
  deadlineMs: number,
): Promise<number> {
  const CHECK_INTERVAL_MS = 100
  for (;;) {
    const count = members.reduce((sum, member) => sum + member.receivedCount, 0)
    if (count >= expected || Date.now() > deadlineMs) return count
    await sleepUntil(Date.now() + CHECK_INTERVAL_MS)
  }
}
