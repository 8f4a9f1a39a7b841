import { randomUUID } from 'node:crypto'
import type { z } from 'zod'
import { BrokerError } from '../protocol/broker-error.js'
import type { Peers, Question, ReceivedMessage } from './peers.js'

/** Time from the start of a survey after which nodes that have not answered count as missing. */
const DEADLINE_MS = 1_800
/** The refusal of a question that only another version knows. */
const UNKNOWN_QUESTION = 'unknown_question'

/** The answers of the cluster's nodes to one question. */
export interface SurveyResult<T> {
  readonly answers: readonly T[]
  /** Ids of live nodes that did not answer in time or refused, or whose answer has another shape. */
  readonly missing: readonly string[]
}

/** A node that refused a question, and why. */
export interface SurveyRefusal {
  readonly node: string
  readonly question: Question['about']
  readonly reason: string
}

/** A survey that waits for answers. */
interface PendingSurvey {
  readonly question: Question['about']
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
    /** Called for each node that refuses a question; it counts as missing. */
    private readonly onRefused: (refusal: SurveyRefusal) => void,
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
      this.pendingSurveys.set(id, { question: question.about, missingNodes, addAnswer, finish })
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
  async handle(message: Exclude<ReceivedMessage, { type: 'probe' | 'unknown' }>): Promise<void> {
    if (message.type === 'unknown-question') {
      const refused = { answer: null, refusal: UNKNOWN_QUESTION }
      await this.peers.sendTo(message.from, { type: 'answer', id: message.id, from: this.node, ...refused })
      return
    }
    if (message.type === 'question') {
      const { id, from, ask } = message
      const answer = await this.answer(ask)
      await this.peers.sendTo(from, { type: 'answer', id, from: this.node, answer })
      return
    }
    const { id, from: node, answer, refusal } = message
    const survey = this.pendingSurveys.get(id)
    if (survey?.missingNodes.delete(node) !== true) return
    if (refusal !== undefined) this.onRefused({ node, question: survey.question, reason: refusal })
    survey.addAnswer(node, answer)
    if (survey.missingNodes.size === 0) survey.finish()
  }
}
