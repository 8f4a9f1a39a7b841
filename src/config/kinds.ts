import type { StaticToken } from '../auth/token-authenticator.js'
import { MAX_TIMER_MS } from '../max-timer.js'
import { parseRedisAddresses, REDIS_ADDRESS_FORMS, RedisAddressError } from './redis-address.js'

/** A kind of value that a setting can have: how it is parsed and shown, and which values are valid. */
export interface Kind<T> {
  /** The unit or the form of the value, as one word for tables. */
  readonly unit: string
  /** Which values are valid; completes "use …" in an error. */
  readonly expects: string
  /**
   * Parses the input of a flag or an environment variable (a text) or of a file (any YAML value). Undefined: not valid.
   */
  read(input: unknown): T | undefined
  /** What is wrong with an input that is not valid, if more can be stated than `expects`. */
  problem?(input: unknown): string | undefined
  /** The value as a text that `read` accepts; of the contents of a file a summary. */
  show(value: T): string
  /** A shorter form for tables, for kinds whose values may be long. */
  brief?(value: T): string
}

const DURATION_UNITS_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const
const SIZE_UNITS_BYTES = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 } as const

/**
 * Parses a whole or decimal number followed by one of the units. Undefined if the input is none, or the result is not a
 * whole number of the smallest unit.
 */
function readWithUnit(input: unknown, units: Readonly<Record<string, number>>): number | undefined {
  if (typeof input !== 'string') return undefined
  const match = /^(\d+(?:\.\d+)?)\s*([A-Za-z]+)$/.exec(input.trim())
  const factor = Object.entries(units).find(([unit]) => unit === match?.[2])?.[1]
  if (match?.[1] === undefined || factor === undefined) return undefined
  const value = Number(match[1]) * factor
  const whole = Math.round(value)
  // The tolerance is for rounding errors: 2.01 × 1,000 is 2009.9999999999998.
  return Number.isSafeInteger(whole) && Math.abs(value - whole) < 1e-6 ? whole : undefined
}

function showWithUnit(value: number, units: Readonly<Record<string, number>>): string {
  const fitting = Object.entries(units).filter(([, factor]) => value >= factor && value % factor === 0)
  const [unit, factor] = fitting.at(-1) ?? Object.entries(units)[0] ?? ['', 1]
  return `${value / factor}${unit}`
}

/** Milliseconds, written `500ms`, `30s`, `5m`, `1h` or `7d`. */
export const duration = (min = 0, max = MAX_TIMER_MS): Kind<number> => ({
  unit: 'duration',
  expects: `a duration such as 500ms, 30s or 5m, from ${showWithUnit(min, DURATION_UNITS_MS)} to ${
    max === MAX_TIMER_MS ? '24d' : showWithUnit(max, DURATION_UNITS_MS)
  }`,
  read: (input) => {
    const value = input === 0 || input === '0' ? 0 : readWithUnit(input, DURATION_UNITS_MS)
    return value !== undefined && value >= min && value <= max ? value : undefined
  },
  show: (value) => showWithUnit(value, DURATION_UNITS_MS),
})

/** Bytes, written `1048576`, `64KiB` or `1MiB`. */
export const size = (min: number, max: number): Kind<number> => ({
  unit: 'size',
  expects: `a size such as 64KiB or 1MiB, from ${showWithUnit(min, SIZE_UNITS_BYTES)} to ${showWithUnit(max, SIZE_UNITS_BYTES)}`,
  read: (input) => {
    const value = readInteger(input) ?? readWithUnit(input, SIZE_UNITS_BYTES)
    return value !== undefined && value >= min && value <= max ? value : undefined
  },
  show: (value) => showWithUnit(value, SIZE_UNITS_BYTES),
})

function readInteger(input: unknown): number | undefined {
  const value = typeof input === 'string' && /^\d+$/.test(input.trim()) ? Number(input) : input
  return typeof value === 'number' && Number.isSafeInteger(value) ? value : undefined
}

export const integer = (min: number, max: number): Kind<number> => ({
  unit: 'number',
  expects: `a whole number from ${min} to ${max}`,
  read: (input) => {
    const value = readInteger(input)
    return value !== undefined && value >= min && value <= max ? value : undefined
  },
  show: String,
})

/** A TCP port; 0 lets the system choose one. */
export const port: Kind<number> = { ...integer(0, 65535), unit: 'port', expects: 'a port from 0 to 65535' }

export const boolean: Kind<boolean> = {
  unit: 'true/false',
  expects: 'true or false',
  read: (input) => {
    if (input === true || input === 'true') return true
    if (input === false || input === 'false') return false
    return undefined
  },
  show: String,
}

export const text = (expects: string, pattern: RegExp = /^.+$/s): Kind<string> => ({
  unit: 'text',
  expects,
  read: (input) => {
    // YAML parses digits as a number; one that is not a safe integer would have lost some of them.
    const value = Number.isSafeInteger(input) ? String(input) : input
    return typeof value === 'string' && pattern.test(value) ? value : undefined
  },
  show: (value) => value,
})

export const choice = <T extends string>(...choices: readonly T[]): Kind<T> => ({
  unit: 'choice',
  expects: `one of ${choices.join(', ')}`,
  read: (input) => choices.find((value) => value === input),
  show: (value) => value,
})

/** One or more values of a kind, separated by commas, or as a list in the file. */
export const list = <T>(of: Kind<T>, expects: string): Kind<readonly T[]> => ({
  unit: 'list',
  expects,
  read: (input) => {
    const parts = typeof input === 'string' ? input.split(',').map((part) => part.trim()) : input
    if (!Array.isArray(parts)) return undefined
    const values = parts.filter((part) => part !== '').map((part) => of.read(part))
    return values.length > 0 && values.every((value) => value !== undefined) ? values : undefined
  },
  show: (values) => values.map((value) => of.show(value)).join(','),
})

/** A URL from which the node fetches something. */
export const httpUrl: Kind<string> = {
  unit: 'url',
  expects: 'https://… or http://…, without a user and a password',
  read: (input) => {
    if (typeof input !== 'string' || !URL.canParse(input)) return undefined
    const { protocol, username, password } = new URL(input)
    const isPlain = username === '' && password === ''
    return ['https:', 'http:'].includes(protocol) && isPlain ? input : undefined
  },
  show: (value) => value,
}

/** An address of Redis, or several. The value is the text, so that it is shown as it was written. */
export const redisUrl: Kind<string> = {
  unit: 'url',
  expects: REDIS_ADDRESS_FORMS,
  read: (input) => (typeof input === 'string' && addressProblem(input) === undefined ? input : undefined),
  problem: (input) => (typeof input === 'string' ? addressProblem(input) : undefined),
  show: (value) => value,
}

function addressProblem(text: string): string | undefined {
  try {
    parseRedisAddresses(text)
    return undefined
  } catch (error) {
    if (error instanceof RedisAddressError) return error.message
    throw error
  }
}

/**
 * Padded base64 of at least 14 bytes. A text that ends in `=` is either such a token, or a user whose token is missing.
 */
const PADDED_BASE64 = /^(?=.{20,}$)(?:[\w+/-]{4})*[\w+/-]{2,3}={1,2}$/

export const staticToken: Kind<StaticToken> = {
  unit: 'token',
  expects: 'token, or user=token',
  read: (input) => {
    if (typeof input !== 'string') return undefined
    if (PADDED_BASE64.test(input)) return { user: '', token: input }
    const match = /^(?:([^=\s]+)=)?([^=\s]\S*)$/.exec(input)
    const lacksToken = match?.[1] === undefined && input.endsWith('=')
    return match?.[2] === undefined || lacksToken ? undefined : { user: match[1] ?? '', token: match[2] }
  },
  show: ({ user, token }) => (user === '' ? token : `${user}=${token}`),
}

/** An allowed origin: `*`, a full origin, or a host; a host may begin with `*.` for every subdomain. */
export const originPattern: Kind<string> = {
  unit: 'origin',
  expects: 'an origin such as https://app.example.com, *.example.com, or *',
  read: (input) => {
    if (input === '*') return input
    const pattern = /^(https?:\/\/)?(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)*(:\d{1,5})?$/i
    return typeof input === 'string' && pattern.test(input) ? input.toLowerCase() : undefined
  },
  show: (value) => value,
}
