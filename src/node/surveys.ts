import { randomUUID } from 'node:crypto'
import type { z } from 'zod'
import { BrokerError } from '../protocol/broker-error.js'
import type { PeerMessage, Peers, Question } from './peers.js'

/** From the beginning, after which the nodes that have not answered are named instead. */
const DEADLINE_MS = 1_800

export interface Survey<T> {
  readonly answers: readonly T[]
  /** Ids of nodes that are thought alive and did not answer, or not with what was asked for. */
  readonly missing: readonly string[]
}

interface OpenSurvey {
  readonly missingNodes: Set<string>
  readonly addAnswer: (node: string, answer: unknown) => void
  readonly done: () => void
}

/** Asks every node of the cluster a question, this one included. */
export class Surveys {
  private readonly openSurveys = new Map<string, OpenSurvey>()

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
    let done: () => void = () => undefined
    const ended = new Promise<undefined>((resolve) => {
      done = () => resolve(undefined)
    })
    const deadline = setTimeout(done, DEADLINE_MS)
    const id = randomUUID()
    try {
      const nodes = await Promise.race([this.peers.aliveNodes(), ended])
      if (nodes === undefined)
        throw new BrokerError('timeout', 'it took too long to find out who can be asked')
      // Its own lease may have lapsed, or not be there yet.
      const missingNodes = new Set([...nodes, this.node])
      const answers: T[] = []
      const malformed: string[] = []
      const addAnswer = (node: string, answer: unknown) => {
        const { success, data } = shape.safeParse(answer)
        if (success) answers.push(data)
        else malformed.push(node)
      }
      this.openSurveys.set(id, { missingNodes, addAnswer, done })
      // The question may have gone out although that is not confirmed in time.
      await Promise.race([
        this.peers.sendToAll({ type: 'question', id, from: this.node, ask: question }),
        ended,
      ])
      await ended
      return { answers, missing: [...missingNodes, ...malformed] }
    } finally {
      clearTimeout(deadline)
      this.openSurveys.delete(id)
    }
  }

  /** Handles a question or an answer that came from a peer. */
  async handle(message: Exclude<PeerMessage, { type: 'probe' }>): Promise<void> {
    if (message.type === 'question') {
      const { id, from, ask } = message
      const answer = await this.answer(ask)
      await this.peers.sendTo(from, { type: 'answer', id, from: this.node, answer })
      return
    }
    const survey = this.openSurveys.get(message.id)
    if (survey?.missingNodes.delete(message.from) !== true) return
    survey.addAnswer(message.from, message.answer)
    if (survey.missingNodes.size === 0) survey.done()
  }
}
