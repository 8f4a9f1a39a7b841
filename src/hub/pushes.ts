import { encodePush } from '../protocol/client-frames.js'
import type { ClientInfo } from '../protocol/client-info.js'
import { JsonText, type JsonValue, jsonText } from '../protocol/json-writer.js'
import type { PresenceEvent, Publication } from '../protocol/publication.js'

/** A client, as others are told of it. */
export function infoJson({ client, user, connInfo, chanInfo }: ClientInfo): JsonValue {
  return { user, client, conn_info: jsonText(connInfo), chan_info: jsonText(chanInfo) }
}

/** A publication, as SDKs get it. */
export function publicationJson(publication: Publication): JsonValue {
  const { info, tags, position, publishedAtMs } = publication
  return {
    data: new JsonText(dataText(publication)),
    info: info && infoJson(info),
    offset: position?.offset,
    tags: tags && new JsonText(JSON.stringify(tags)),
    time: publishedAtMs,
  }
}

/** About what a publication takes as SDKs get it, without the cost of making it: never less by more than its brackets. */
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

/** What a raw client said becomes JSON: JSON stays what it is, other text a string, binary an object with base64. */
export function dataText({ data, isBinary, isJson }: Publication): string {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
  if (isBinary) return `{"base64":"${bytes.toString('base64')}"}`
  const text = bytes.toString()
  if (isJson) return text
  try {
    JSON.parse(text)
    // Objects are told apart in a frame by their lines; in JSON, a line only ends between tokens.
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
