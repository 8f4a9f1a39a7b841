import { z } from 'zod'
import type { ClientInfo } from '../protocol/client-info.js'

/** A client's entry in Redis: its node and its info. */
export interface PresenceEntry {
  readonly node: string
  readonly info: ClientInfo
}

const entryFields = z.object({
  node: z.string(),
  user: z.string(),
  connInfo: z.string().optional(),
  chanInfo: z.string().optional(),
})

/**
 * Encodes an entry as JSON. The generation makes an entry that a node wrote after it was taken for dead differ from the
 * one before, so that a sweep which read the old entry leaves the new one alone.
 */
export function encodePresenceEntry({ node, info }: PresenceEntry, generation: number): string {
  const { user, connInfo, chanInfo } = info
  return JSON.stringify({ node, generation, user, connInfo, chanInfo })
}

/** Decodes an entry. Returns undefined for a text that no node has written. */
export function decodePresenceEntry(client: string, text: string): PresenceEntry | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  const { success, data } = entryFields.safeParse(value)
  if (!success) return undefined
  const { node, user, connInfo, chanInfo } = data
  return { node, info: { client, user, connInfo, chanInfo } }
}
