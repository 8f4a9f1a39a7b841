import { isRecord } from '../type-guards.js'
import {
  CLIENT_REQUESTS,
  type ClientCommand,
  COMMAND_NAMES,
  type CommandName,
  MAX_COMMAND_ID,
} from './client-requests.js'
import { errors, type ProtocolError } from './errors.js'
import { jsonFieldText } from './json-field.js'
import { JsonText } from './json-text.js'
import { type JsonValue, writeJson } from './json-writer.js'

/** One line of a client's frame, as it was read. */
export type ClientLine =
  | { readonly type: 'command'; readonly command: ClientCommand; readonly bytes: number }
  /** A command with a valid id whose request is not accepted: the client receives the error as its reply. */
  | { readonly type: 'refused'; readonly id: number; readonly name: string; readonly error: ProtocolError }
  /** An empty object: the answer to the server's ping. */
  | { readonly type: 'pong' }
  /** A line outside of the protocol. The reason is for the log. */
  | { readonly type: 'malformed'; readonly reason: string }

/** Reads the lines of a frame in order, lazily: after a line that ends the connection, the rest is not parsed. */
export function* readClientFrame(frame: Buffer, maxCommandBytes: number): Generator<ClientLine> {
  let start = 0
  while (start < frame.length) {
    // Some SDKs end a frame with a newline, and a frame may consist of newlines alone.
    if (frame[start] === 0x0a) {
      start++
      continue
    }
    const newline = frame.indexOf(0x0a, start)
    const end = newline < 0 ? frame.length : newline
    const line = readLine(frame.toString('utf8', start, end), end - start)
    yield line.type === 'command' && line.bytes > maxCommandBytes ? tooLarge(line) : line
    start = end + 1
  }
}

function tooLarge({ command: { id, name }, bytes }: ClientLine & { readonly type: 'command' }): ClientLine {
  return { type: 'refused', id, name, error: errors.limitExceeded(`the command has ${bytes} bytes`) }
}

function readLine(text: string, bytes: number): ClientLine {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    return { type: 'malformed', reason: 'not JSON' }
  }
  if (!isRecord(json)) {
    return { type: 'malformed', reason: 'not an object' }
  }
  const fields = Object.keys(json)
  if (fields.length === 0) return { type: 'pong' }
  const { id } = json
  const names = fields.filter((field) => field !== 'id')
  if (id !== undefined && !isCommandId(id))
    return { type: 'malformed', reason: 'the id is no uint32 above 0' }
  const [name] = names
  if (name === undefined || names.length > 1) return { type: 'malformed', reason: 'not exactly one command' }
  if (id === undefined && name !== 'send') return { type: 'malformed', reason: 'no id' }
  const request = (json as Record<string, unknown>)[name]
  const exactRequest = name === 'publish' ? withOriginalData(request, text) : request
  return readCommand((id as number | undefined) ?? 0, name, exactRequest, bytes)
}

/**
 * Replaces the parsed data of a publish request by its original text: parsed and written again, long numbers would lose
 * digits.
 */
function withOriginalData(request: unknown, text: string): unknown {
  const data = jsonFieldText(text, 'publish', 'data')
  if (data === undefined) return request
  // Clients that read lines may take a carriage return for the end of one. Strings have it escaped in JSON, so that
  // only whitespace between tokens is replaced.
  return { ...(request as object), data: new JsonText(data.replaceAll('\r', ' ')) }
}

function isCommandId(id: unknown): id is number {
  return Number.isInteger(id) && Number(id) > 0 && Number(id) <= MAX_COMMAND_ID
}

function readCommand(id: number, name: string, request: unknown, bytes: number): ClientLine {
  if (!isCommandName(name)) {
    const error = errors.methodNotFound(`there is no command "${name.slice(0, 32)}"`)
    return { type: 'refused', id, name: 'unknown', error }
  }
  const parsed = CLIENT_REQUESTS[name].safeParse(request)
  if (parsed.success) {
    return { type: 'command', command: { id, name, request: parsed.data } as ClientCommand, bytes }
  }
  const problems = parsed.error.issues.map(({ path, message }) => `${path.join('.') || name}: ${message}`)
  return { type: 'refused', id, name, error: errors.badRequest(problems.slice(0, 3).join('; ')) }
}

function isCommandName(name: string): name is CommandName {
  return (COMMAND_NAMES as string[]).includes(name)
}

/** The server's ping: an empty object. */
export const PING_FRAME = Buffer.from('{}')

/** A reply with the result of a command. Zero values are left out, as the protocol has it. */
export function encodeReply(id: number, name: CommandName, result: JsonValue): string {
  return `{"id":${id},"${name}":${writeJson(result)}}`
}

/** A reply with the error of a command. */
export function encodeErrorReply(id: number, { code, message, temporary }: ProtocolError): string {
  return `{"id":${id},"error":${writeJson({ code, message, temporary })}}`
}

/** A push: a frame that answers no command. Without a channel it belongs to the connection. */
export function encodePush(channel: string | undefined, kind: string, body: JsonValue): string {
  return `{"push":${writeJson({ channel, [kind]: body })}}`
}
