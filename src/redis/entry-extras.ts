import type { ClientInfo } from '../protocol/client-info.js'

/** What only some publications carry. */
export interface EntryExtras {
  /** Who published it. */
  readonly info: ClientInfo | undefined
  readonly tags: Readonly<Record<string, string>> | undefined
}

export const NO_EXTRAS: EntryExtras = { info: undefined, tags: undefined }

/** One line of JSON; undefined where there is nothing to say. */
export function encodeExtras({ info, tags }: EntryExtras): Buffer | undefined {
  return info === undefined && tags === undefined ? undefined : Buffer.from(JSON.stringify({ info, tags }))
}

/** Undefined for what `encodeExtras` would not have made. */
export function decodeExtras(json: string): EntryExtras | undefined {
  let value: unknown
  try {
    value = JSON.parse(json)
  } catch {
    return undefined
  }
  if (!isRecord(value) || !hasOnly(value, ['info', 'tags'])) return undefined
  const { info, tags } = value
  if (info === undefined && tags === undefined) return undefined
  if (info !== undefined && !isRecord(info)) return undefined
  if (tags !== undefined && !isTextRecord(tags)) return undefined
  if (info === undefined) return { info, tags }
  const { client, user, connInfo, chanInfo } = info
  if (!hasOnly(info, ['client', 'user', 'connInfo', 'chanInfo'])) return undefined
  if (typeof client !== 'string' || typeof user !== 'string') return undefined
  if (!isOptionalText(connInfo) || !isOptionalText(chanInfo)) return undefined
  return { info: { client, user, connInfo, chanInfo }, tags }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function hasOnly(value: Record<string, unknown>, names: readonly string[]): boolean {
  return Object.keys(value).every((name) => names.includes(name))
}

function isTextRecord(value: unknown): value is Record<string, string> {
  return isRecord(value) && Object.values(value).every((one) => typeof one === 'string')
}

function isOptionalText(value: unknown): value is string | undefined {
  return value === undefined || typeof value === 'string'
}
