import type { PresenceEvent } from '../protocol/publication.js'
import { isOptionalString } from '../type-guards.js'

/** The payload of a join or leave entry: JSON of the client's fields, without its id, which stands in the entry's header. */
export function encodePresencePayload({ info, online }: PresenceEvent): Buffer {
  const { user, connInfo, chanInfo } = info
  return Buffer.from(JSON.stringify({ user, connInfo, chanInfo, online }))
}

/** Returns undefined for a payload that no version of `encodePresencePayload` would produce. Members that it does not know are left out. */
export function decodePresencePayload(
  type: PresenceEvent['type'],
  client: string,
  payload: string,
): PresenceEvent | undefined {
  let fields: { user?: unknown; online?: unknown; connInfo?: unknown; chanInfo?: unknown }
  try {
    fields = JSON.parse(payload) as typeof fields
  } catch {
    return undefined
  }
  if (typeof fields !== 'object' || fields === null) return undefined
  const { user, online, connInfo, chanInfo } = fields
  if (typeof user !== 'string') return undefined
  if (online !== undefined && typeof online !== 'number') return undefined
  if (!isOptionalString(connInfo) || !isOptionalString(chanInfo)) return undefined
  return { type, info: { client, user, connInfo, chanInfo }, online }
}
