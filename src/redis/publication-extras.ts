import type { Publication } from '../protocol/publication.js'
import { isOptionalString, isRecord } from '../type-guards.js'

/** The fields of a publication that few publications have: the publishing client and the tags. */
export type PublicationExtras = Pick<Publication, 'info' | 'tags'>

export const NO_EXTRAS: PublicationExtras = { info: undefined, tags: undefined }

/** Returns one line of JSON, or undefined where the publication has neither field. */
export function encodeExtras({ info, tags }: PublicationExtras): Buffer | undefined {
  return info === undefined && tags === undefined ? undefined : Buffer.from(JSON.stringify({ info, tags }))
}

/** Returns undefined for JSON that no version of `encodeExtras` would produce. Members that it does not know are left out. */
export function decodeExtras(json: string): PublicationExtras | undefined {
  let value: unknown
  try {
    value = JSON.parse(json)
  } catch {
    return undefined
  }
  if (!isRecord(value)) return undefined
  const { info, tags } = value
  if (info !== undefined && !isRecord(info)) return undefined
  if (tags !== undefined && !isStringRecord(tags)) return undefined
  if (info === undefined) return { info, tags }
  const { client, user, connInfo, chanInfo } = info
  if (typeof client !== 'string' || typeof user !== 'string') return undefined
  if (!isOptionalString(connInfo) || !isOptionalString(chanInfo)) return undefined
  return { info: { client, user, connInfo, chanInfo }, tags }
}

function isStringRecord(value: unknown): value is Record<string, string> {
  return isRecord(value) && Object.values(value).every((one) => typeof one === 'string')
}
