import { callApi } from '../support/api.js'
import { metric } from '../support/metric.js'
import type { FaultNode } from './fault-node.js'
import type { Delivered, LedgerEvent, Position } from './ledger/events.js'
import type { Payload } from './wire-tap.js'

const PAGE = 1_000

type HistoryPage = Position & { publications: { offset: number; data: Payload }[] }

/** Reads all of a channel's history, page by page. */
export async function readHistory(node: FaultNode, channel: string): Promise<LedgerEvent> {
  const publications: Delivered[] = []
  let since: Position | undefined
  for (;;) {
    const body = { channel, limit: PAGE, ...(since !== undefined && { since }) }
    const { body: answer } = await callApi(node, 'history', body)
    if (answer.result === undefined) throw new Error(`history of ${channel}: ${answer.error?.message}`)
    const page = answer.result as unknown as HistoryPage
    publications.push(...page.publications.map(({ offset, data }) => ({ offset, id: data.id })))
    const { epoch, offset } = page
    const last = publications.at(-1)?.offset ?? offset
    if (page.publications.length === 0 || last >= offset) {
      return { type: 'history', channel, position: { epoch, offset }, publications }
    }
    since = { epoch, offset: last }
  }
}

/** Reads what a node has counted. */
export async function readCounters(node: FaultNode): Promise<LedgerEvent> {
  const unrepairedGaps = metric(await node.metrics(), 'fanfare_relay_unrepaired_gaps_total')
  return { type: 'counted', node: node.name, unrepairedGaps }
}
