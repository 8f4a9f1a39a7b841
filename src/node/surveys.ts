import { randomUUID } from 'node:crypto'
import type { z } from 'zod'
import { BrokerError } from '../protocol/broker-error.js'
import type { PeerMessage, Peers, Question } from './peers.js'

/** Time from the start of a survey after which nodes that have not answered count as missing. */
const DEADLINE_MS = 1_800

/** The answers of the cluster's nodes to one question. */
export interface SurveyResult<T> {
  readonly answers: readonly T[]
  /** Ids of live nodes that did not answer in time, or whose answer has another shape. */
  readonly missing: readonly string[]
}

/** A survey that waits for answers. */
interface PendingSurvey {
  readonly missingNodes: Set<string>
  readonly addAnswer: (node: string, answer: unknown) => void
  readonly finish: () => void
}

/** Asks every node of the cluster a question, this one included. */
export class Surveys {
  private readonly pendingSurveys = new Map<string, PendingSurvey>()

  constructor(
    private readonly node: string,
    private readonly peers: Peers,
    private readonly answer: (question: Question) => unknown | Promise<unknown>,
  ) {}

  /**
   * Sends the question to every live node. Resolves within 2 s with the answers that have the shape. Rejects with a
   * BrokerError when the question cannot be sent.
   */
  async ask<T>(question: Question, shape: z.ZodType<T>): Promise<SurveyResult<T>> {
    let finish: () => void = () => undefined
    const finished = new Promise<undefined>((resolve) => {
      finish = () => resolve(undefined)
    })
    const deadline = setTimeout(finish, DEADLINE_MS)
    const id = randomUUID()
    try {
      const nodes = await Promise.race([this.peers.aliveNodes(), finished])
      if (nodes === undefined)
        throw new BrokerError('timeout', 'it took too long to find out who can be asked')
      // This node answers too, though its own lease may have expired, or not exist yet.
      const missingNodes = new Set([...nodes, this.node])
      const answers: T[] = []
      const malformed: string[] = []
      const addAnswer = (node: string, answer: unknown) => {
        const { success, data } = shape.safeParse(answer)
        if (success) answers.push(data)
        else malformed.push(node)
      }
      this.pendingSurveys.set(id, { missingNodes, addAnswer, finish })
      // The survey goes on when the relay does not confirm the question in time, since nodes may have received it.
      await Promise.race([
        this.peers.sendToAll({ type: 'question', id, from: this.node, ask: question }),
        finished,
      ])
      await finished
      return { answers, missing: [...missingNodes, ...malformed] }
    } finally {
      clearTimeout(deadline)
      this.pendingSurveys.delete(id)
    }
  }

  /** Handles a question or an answer of a node. Rejects where a question could not be answered. */
  async handle(message: Exclude<PeerMessage, { type: 'probe' }>): Promise<void> {
    if (message.type === 'question') {
      const { id, from, ask } = message
      const answer = await this.answer(ask)
      await this.peers.sendTo(from, { type: 'answer', id, from: this.node, answer })
      return
    }
    const survey = this.pendingSurveys.get(message.id)
    if (survey?.missingNodes.delete(message.from) !== true) return
    survey.addAnswer(message.from, message.answer)
    if (survey.missingNodes.size === 0) survey.finish()
  }
}
