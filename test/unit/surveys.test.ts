import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { z } from 'zod'
import { MemoryPeers } from '../../src/node/memory-peers.js'
import type { PeerMessage, Peers, Question } from '../../src/node/peers.js'
import { type SurveyRefusal, Surveys } from '../../src/node/surveys.js'
import { BrokerError } from '../../src/protocol/broker-error.js'

/** Nodes in one process: each has surveys; messages pass directly, but not to nodes that are cut off. */
class Network {
  readonly surveys = new Map<string, Surveys>()
  readonly cutOff = new Set<string>()
  leased: readonly string[] = []
  failure: Error | undefined
  /** Nodes of another version, which know none of the questions. */
  readonly otherVersion = new Set<string>()
  readonly refusals: SurveyRefusal[] = []
  /** How long it takes to list the nodes that are alive, and to send. */
  delayMs = 0

  join(node: string, answer: (question: Question) => unknown = () => `from ${node}`): Surveys {
    const onRefused = (refusal: SurveyRefusal) => void this.refusals.push(refusal)
    const surveys = new Surveys(node, this.peersOf(node), answer, onRefused)
    this.surveys.set(node, surveys)
    this.leased = [...this.leased, node]
    return surveys
  }

  async send(to: readonly string[], message: PeerMessage): Promise<void> {
    await this.delay()
    if (this.failure !== undefined) throw this.failure
    if (message.type === 'probe') return
    for (const node of to) {
      const isUnknown = message.type === 'question' && this.otherVersion.has(node)
      const received = isUnknown ? { ...message, type: 'unknown-question' as const } : message
      if (!this.cutOff.has(node)) await this.surveys.get(node)?.handle(received)
    }
  }

  private async delay(): Promise<void> {
    if (this.delayMs > 0) await new Promise((resolve) => setTimeout(resolve, this.delayMs))
  }

  private peersOf(node: string): Peers {
    const peers = new MemoryPeers(node)
    peers.aliveNodes = () => this.delay().then(() => this.leased)
    peers.sendToAll = (message) => this.send([...this.surveys.keys()], message)
    peers.sendTo = (to, message) => this.send([to], message)
    return peers
  }
}

const text = z.string()
let network: Network

beforeEach(() => {
  vi.useFakeTimers()
  network = new Network()
})
afterEach(() => vi.useRealTimers())

describe('a question to all nodes', () => {
  it('is answered by every node, the asking one included', async () => {
    const surveys = network.join('one')
    network.join('two')
    network.join('three')
    const { answers, missing } = await surveys.ask({ about: 'info' }, text)
    expect([...answers].sort()).toEqual(['from one', 'from three', 'from two'])
    expect(missing).toEqual([])
    expect(vi.getTimerCount()).toBe(0)
  })

  it('names nodes that do not answer in time, and does not wait longer than 2 s', async () => {
    const surveys = network.join('one')
    network.join('two')
    network.cutOff.add('two')
    let isDone = false
    const asked = surveys.ask({ about: 'info' }, text).finally(() => {
      isDone = true
    })
    await vi.advanceTimersByTimeAsync(1_000)
    expect(isDone).toBe(false)
    await vi.advanceTimersByTimeAsync(1_000)
    expect(isDone).toBe(true)
    expect(await asked).toEqual({ answers: ['from one'], missing: ['two'] })
  })

  it.each([
    [1_400, 'names missing nodes'],
    [5_000, 'rejects'],
  ])('waits no longer than 2 s although every step takes %i ms, and then %s', async (delayMs) => {
    const surveys = network.join('one')
    network.delayMs = delayMs
    let outcome: unknown
    const record = (what: unknown) => {
      outcome = what
    }
    void surveys.ask({ about: 'info' }, text).then(record, record)
    await vi.advanceTimersByTimeAsync(2_000)
    if (delayMs < 2_000) expect(outcome).toEqual({ answers: [], missing: ['one'] })
    else expect(outcome).toMatchObject({ reason: 'timeout' })
  })

  it('is answered by the asking node although its lease has lapsed', async () => {
    const surveys = network.join('one')
    network.leased = []
    expect(await surveys.ask({ about: 'info' }, text)).toEqual({ answers: ['from one'], missing: [] })
  })

  it('ignores answers to unknown questions', async () => {
    const surveys = network.join('one')
    network.join('two')
    network.cutOff.add('two')
    const asked = surveys.ask({ about: 'info' }, text)
    const wrong: Parameters<Surveys['handle']>[0][] = [
      { type: 'answer', id: 'unknown', from: 'two', answer: 'x' },
      { type: 'answer', id: '__proto__', from: 'two', answer: 'x' },
    ]
    for (const message of wrong) await surveys.handle(message)
    await vi.advanceTimersByTimeAsync(2_000)
    expect((await asked).answers).toEqual(['from one'])
  })

  it('names nodes that answer in a wrong form, without waiting for more', async () => {
    const surveys = network.join('one')
    network.join('two', () => ({ not: 'a text' }))
    network.join('three', () => Promise.resolve('from three, later'))
    const { answers, missing } = await surveys.ask({ about: 'info' }, text)
    expect([...answers].sort()).toEqual(['from one', 'from three, later'])
    expect(missing).toEqual(['two'])
    expect(vi.getTimerCount()).toBe(0)
  })

  it('names nodes that do not know it, without waiting for more, and reports why', async () => {
    const surveys = network.join('one')
    network.join('two')
    network.otherVersion.add('two')
    const asked = await surveys.ask({ about: 'info' }, text)
    expect(asked).toEqual({ answers: ['from one'], missing: ['two'] })
    expect(network.refusals).toEqual([{ node: 'two', question: 'info', reason: 'unknown_question' }])
    expect(vi.getTimerCount()).toBe(0)
  })

  it('keeps several questions apart', async () => {
    const surveys = network.join('one', (question) => question.about)
    const [info, channels] = await Promise.all([
      surveys.ask({ about: 'info' }, text),
      surveys.ask({ about: 'channels', pattern: '*' }, text),
    ])
    expect([info.answers, channels.answers]).toEqual([['info'], ['channels']])
  })

  it('rejects when no node can be asked, and leaves no timer', async () => {
    const surveys = network.join('one')
    network.failure = new BrokerError('unavailable', 'Redis cannot be reached')
    await expect(surveys.ask({ about: 'info' }, text)).rejects.toThrow('Redis cannot be reached')
    expect(vi.getTimerCount()).toBe(0)
  })
})
