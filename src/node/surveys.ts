import { randomUUID } from 'node:crypto'
import type { PeerMessage, Peers, Question } from './peers.js'

/** After which the nodes that have not answered are named instead. */
const DEADLINE_MS = 1_500

export interface Survey {
  readonly answers: readonly unknown[]
  /** Ids of nodes that are thought alive and did not answer. */
  readonly missing: readonly string[]
}

interface Open {
  readonly awaited: Set<string>
  readonly answers: unknown[]
  readonly done: () => void
}

/** Asks every node of the cluster a question, this one included. */
export class Surveys {
  private readonly open = new Map<string, Open>()

  constructor(
    private readonly node: string,
    private readonly peers: Peers,
    private readonly answer: (question: Question) => unknown,
  ) {}

  /** Resolves within 2 s with what was answered until then. Rejects with a BrokerError when nobody can be asked. */
  async ask(question: Question): Promise<Survey> {
    const awaited = new Set(await this.peers.alive())
    // Its own lease may have lapsed, or not be there yet.
    awaited.add(this.node)
    const id = randomUUID()
    const answers: unknown[] = []
    let deadline: NodeJS.Timeout | undefined
    const allAnswered = new Promise<void>((resolve) => {
      deadline = setTimeout(resolve, DEADLINE_MS)
      this.open.set(id, { awaited, answers, done: resolve })
    })
    try {
      await this.peers.sendToAll({ type: 'question', id, from: this.node, ask: question })
      await allAnswered
    } finally {
      clearTimeout(deadline)
      this.open.delete(id)
    }
    return { answers, missing: [...awaited] }
  }

  /** Handles a question or an answer that came from a peer. */
  async handle(message: Exclude<PeerMessage, { type: 'probe' }>): Promise<void> {
    if (message.type === 'question') {
      const { id, from, ask } = message
      await this.peers.sendTo(from, { type: 'answer', id, from: this.node, answer: this.answer(ask) })
      return
    }
    const survey = this.open.get(message.id)
    if (survey?.awaited.delete(message.from) !== true) return
    survey.answers.push(message.answer)
    if (survey.awaited.size === 0) survey.done()
  }
}
