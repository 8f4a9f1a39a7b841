import { encodePush } from './client-frames.js'
import type { ClientInfo } from './client-info.js'
import { JsonText, jsonText } from './json-text.js'
import type { PresenceEvent, Publication } from './publication.js'

/** A client as subscribers and callers of the server API receive it. */
export function infoJson({ client, user, connInfo, chanInfo }: ClientInfo) {
  return { user, client, conn_info: jsonText(connInfo), chan_info: jsonText(chanInfo) }
}

/** Clients by their id, as in the reply to `presence`. */
export function presenceJson(clients: ReadonlyMap<string, ClientInfo>) {
  return Object.fromEntries([...clients].map(([client, info]) => [client, infoJson(info)]))
}

/** A publication as SDKs and callers of the server API receive it. */
export function publicationJson(publication: Publication) {
  const { info, tags, position, publishedAtMs } = publication
  return {
    data: new JsonText(dataText(publication)),
    info: info && infoJson(info),
    offset: position?.offset,
    // As text: `writeJson` would leave out tags with an empty value.
    tags: tags && new JsonText(JSON.stringify(tags)),
    time: publishedAtMs,
  }
}

/**
 * Estimates the bytes of a publication as SDKs receive it, without encoding it. The estimate leaves out only what has a
 * fixed bound: field names, brackets and numbers.
 */
export function publicationBytes(publication: Publication): number {
  const { data, isBinary, isJson, info, tags } = publication
  const dataBytes = isBinary
    ? Math.ceil(data.byteLength / 3) * 4
    : isJson
      ? data.byteLength
      : Buffer.byteLength(dataText(publication))
  const { client = '', user = '', connInfo = '', chanInfo = '' } = info ?? {}
  const tagsText = tags === undefined ? '' : JSON.stringify(tags)
  const texts = [client, user, connInfo, chanInfo, tagsText]
  return texts.reduce((sum, text) => sum + Buffer.byteLength(text), dataBytes)
}

/** The data of a publication as JSON: JSON as it is, other text as a string, binary data as an object with base64. */
function dataText({ data, isBinary, isJson }: Publication): string {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
  if (isBinary) return `{"base64":"${bytes.toString('base64')}"}`
  const text = bytes.toString()
  if (isJson) return text
  try {
    JSON.parse(text)
    // A newline separates the objects of a frame. Valid JSON has newlines between tokens only.
    return text.replace(/[\r\n]/g, ' ')
  } catch {
    return JSON.stringify(text)
  }
}

export function publicationPush(channel: string, publication: Publication): string {
  return encodePush(channel, 'pub', publicationJson(publication))
}

export function presencePush(channel: string, { type, info }: PresenceEvent): string {
  return encodePush(channel, type, { info: infoJson(info) })
}
