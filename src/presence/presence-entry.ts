import { z } from 'zod'
import type { ClientInfo } from '../protocol/client-info.js'

/** A client as it stands in Redis. */
export interface PresenceEntry {
  readonly node: string
  readonly info: ClientInfo
}

const stored = z.object({
  node: z.string(),
  user: z.string(),
  connInfo: z.string().optional(),
  chanInfo: z.string().optional(),
})

/**
 * A client's entry as text. The generation makes what a node writes after it was taken for dead differ from what it
 * wrote before.
 */
export function encodePresenceEntry({ node, info }: PresenceEntry, generation: number): string {
  const { user, connInfo, chanInfo } = info
  return JSON.stringify({ node, generation, user, connInfo, chanInfo })
}

/** Undefined for what no node of ours would have written. */
export function decodePresenceEntry(client: string, text: string): PresenceEntry | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  const { success, data } = stored.safeParse(value)
  if (!success) return undefined
  const { node, user, connInfo, chanInfo } = data
  return { node, info: { client, user, connInfo, chanInfo } }
}
