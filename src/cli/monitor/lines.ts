import { STATUS_CODES } from 'node:http'
import { type MachineReport, memoryPercent } from './report.js'

/** Of a message, a reason, a name or an HTTP body; a longer one is cut, and its length is printed. */
export const MAX_PRINTED_CHARACTERS = 200

const BYTES_PER_GIB = 1024 ** 3

/** Control, format and unassigned characters and line separators, which could control or garble a terminal. */
const UNPRINTABLE = /[\\\p{C}\p{Zl}\p{Zp}]/gu

/** Makes received text safe to print within one line: escaped as in JSON, except for quotes. */
export function printable(text: string): string {
  const shown = text.slice(0, MAX_PRINTED_CHARACTERS).replace(UNPRINTABLE, escaped)
  return text.length > MAX_PRINTED_CHARACTERS ? `${shown}… (${text.length} characters)` : shown
}

function escaped(character: string): string {
  const json = JSON.stringify(character).slice(1, -1)
  if (json !== character) return json
  return Array.from({ length: character.length }, (_, i) => `\\u${hex(character.charCodeAt(i))}`).join('')
}

function hex(unit: number): string {
  return unit.toString(16).padStart(4, '0')
}

export function seconds(ms: number): string {
  return `${ms / 1000} s`
}

export function reportLine(report: MachineReport, form: 'text' | 'binary'): string {
  const used = (report.memoryUsedBytes / BYTES_PER_GIB).toFixed(2)
  const total = (report.memoryTotalBytes / BYTES_PER_GIB).toFixed(2)
  const memory = `memory ${used} of ${total} GiB (${memoryPercent(report).toFixed(1)} %)`
  return `report from ${printable(report.reporter)} (${form}): cpu ${report.cpuPercent.toFixed(1)} %, ${memory}`
}

/** What ended a connection. */
export interface Failure {
  name: string
  /** Text from the server, a proxy or the system, which may contain secrets and unprintable characters. */
  detail?: string
}

/** Names for the HTTP statuses that refuse a handshake. */
const REFUSALS: Record<number, string> = {
  400: 'bad request',
  401: 'unauthorized',
  403: 'forbidden',
  404: 'not found',
  426: 'upgrade required',
  503: 'unavailable',
}

/** The failure of a handshake that was answered with another status than 101. */
export function refusal(status: number, body: string): Failure {
  const meaning = REFUSALS[status] ?? 'handshake refused'
  const name = `${meaning}: HTTP ${status} ${STATUS_CODES[status] ?? ''}`.trimEnd()
  const detail = body.trim()
  return detail === '' ? { name } : { name, detail }
}

const UNKNOWN_AUTHORITY =
  'certificate not accepted: its authority is not known here; NODE_EXTRA_CA_CERTS may name a file with it'

/** Names for the errors of the system and of TLS with which a connection fails to open, by their code. */
const CONNECT_ERRORS: Record<string, string> = {
  ECONNREFUSED: 'refused: nothing listens at this address',
  ENOTFOUND: 'host not found',
  EAI_AGAIN: 'host not found: the name service does not answer',
  ETIMEDOUT: 'timed out: the host does not answer',
  EHOSTUNREACH: 'host unreachable',
  ENETUNREACH: 'network unreachable',
  ECONNRESET: 'closed: the connection ended during the handshake',
  EPROTO: 'TLS failed: does the server speak wss:// here?',
  CERT_HAS_EXPIRED: 'certificate not accepted: it has expired',
  ERR_TLS_CERT_ALTNAME_INVALID: 'certificate not accepted: it is for another host',
  DEPTH_ZERO_SELF_SIGNED_CERT: UNKNOWN_AUTHORITY,
  SELF_SIGNED_CERT_IN_CHAIN: UNKNOWN_AUTHORITY,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: UNKNOWN_AUTHORITY,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: UNKNOWN_AUTHORITY,
}

/** The failure of a connection that did not open. */
export function connectFailure(error: Error): Failure {
  const code = errorCode(error)
  const name = CONNECT_ERRORS[code]
  return name === undefined
    ? { name: `failed${inParentheses(code)}`, detail: error.message }
    : { name: `${name}${inParentheses(code)}` }
}

/** Codes that are never sent: they stand for a close frame without a code, and for no close frame. RFC 6455 §7.1.5. */
const NO_CODE = 1005
const NO_CLOSE_FRAME = 1006

/** The failure of an open connection. `error` is the socket's error before it closed, if there was one. */
export function closure(code: number, reason: string, error?: Error): Failure {
  if (error !== undefined) {
    return { name: `closed: code ${code}${inParentheses(errorCode(error))}`, detail: error.message }
  }
  if (code === NO_CLOSE_FRAME) return { name: `closed: code ${code}, without a close frame` }
  if (code === NO_CODE) return { name: `closed: code ${code}, no code was given` }
  return reason === ''
    ? { name: `closed: code ${code}, no reason` }
    : { name: `closed: code ${code}, reason`, detail: reason }
}

/**
 * One line for a failure. Secrets are masked before the detail is cut: a proxy may repeat the address or the headers.
 */
export function failureLine(failure: Failure, secrets: readonly string[]): string {
  if (failure.detail === undefined) return failure.name
  const detail = secrets.reduce((text, secret) => text.replaceAll(secret, '***'), failure.detail)
  return `${failure.name}: ${printable(detail)}`
}

function inParentheses(code: string): string {
  return code === '' ? '' : ` (${code})`
}

function errorCode(error: Error): string {
  return 'code' in error && typeof error.code === 'string' ? error.code : ''
}
