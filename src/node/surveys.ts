import { randomUUID } from 'node:crypto'
import type { z } from 'zod'
import type { PeerMessage, Peers, Question } from './peers.js'

/** After which the nodes that have not answered are named instead. */
const DEADLINE_MS = 1_500

export interface Survey<T> {
  readonly answers: readonly T[]
  /** Ids of nodes that are thought alive and did not answer, or not with what was asked for. */
  readonly missing: readonly string[]
}

interface Open {
  readonly awaited: Set<string>
  readonly take: (node: string, answer: unknown) => void
  readonly done: () => void
}

/** Asks every node of the cluster a question, this one included. */
export class Surveys {
  private readonly open = new Map<string, Open>()

  constructor(
    private readonly node: string,
    private readonly peers: Peers,
    private readonly answer: (question: Question) => unknown | Promise<unknown>,
  ) {}

  /**
   * Resolves within 2 s with the answers until then that have the shape. Rejects with a BrokerError when nobody can be
   * asked.
   */
  async ask<T>(question: Question, shape: z.ZodType<T>): Promise<Survey<T>> {
    const awaited = new Set(await this.peers.alive())
    // Its own lease may have lapsed, or not be there yet.
    awaited.add(this.node)
    const id = randomUUID()
    const answers: T[] = []
    const malformed: string[] = []
    const take = (node: string, answer: unknown) => {
      const { success, data } = shape.safeParse(answer)
      if (success) answers.push(data)
      else malformed.push(node)
    }
    let deadline: NodeJS.Timeout | undefined
    const allAnswered = new Promise<void>((resolve) => {
      deadline = setTimeout(resolve, DEADLINE_MS)
      this.open.set(id, { awaited, take, done: resolve })
    })
    try {
      await this.peers.sendToAll({ type: 'question', id, from: this.node, ask: question })
      await allAnswered
    } finally {
      clearTimeout(deadline)
      this.open.delete(id)
    }
    return { answers, missing: [...awaited, ...malformed] }
  }

  /** Handles a question or an answer that came from a peer. */
  async handle(message: Exclude<PeerMessage, { type: 'probe' }>): Promise<void> {
    if (message.type === 'question') {
      const { id, from, ask } = message
      const answer = await this.answer(ask)
      await this.peers.sendTo(from, { type: 'answer', id, from: this.node, answer })
      return
    }
    const survey = this.open.get(message.id)
    if (survey?.awaited.delete(message.from) !== true) return
    survey.take(message.from, message.answer)
    if (survey.awaited.size === 0) survey.done()
  }
}
