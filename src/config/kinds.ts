/** A kind of value that a setting can have: how it is read, shown, and what to write instead of a wrong one. */
export interface Kind<T> {
  /** The unit or the form of the value, a word for tables. */
  readonly unit: string
  /** What to write, completing "use …". */
  readonly expects: string
  /** Reads what a flag, an environment variable (both text) or a file (any YAML value) gave; undefined if it isn't one. */
  read(input: unknown): T | undefined
  /** What is wrong with a value that can't be read, where that is more than what it should be. */
  problem?(input: unknown): string | undefined
  show(value: T): string
  /** The same for a table, where it may be long. */
  brief?(value: T): string
}

const DURATION_UNITS_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const
const SIZE_UNITS_BYTES = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 } as const

/** Reads a whole or decimal number with one of the units behind it; undefined if it isn't one or comes to a fraction. */
function readWithUnit(input: unknown, units: Readonly<Record<string, number>>): number | undefined {
  if (typeof input !== 'string') return undefined
  const match = /^(\d+(?:\.\d+)?)\s*([A-Za-z]+)$/.exec(input.trim())
  const factor = Object.entries(units).find(([unit]) => unit === match?.[2])?.[1]
  if (match?.[1] === undefined || factor === undefined) return undefined
  const value = Number(match[1]) * factor
  const whole = Math.round(value)
  // 2.01 × 1,000 is 2009.9999999999998.
  return Number.isSafeInteger(whole) && Math.abs(value - whole) < 1e-6 ? whole : undefined
}

function showWithUnit(value: number, units: Readonly<Record<string, number>>): string {
  const fitting = Object.entries(units).filter(([, factor]) => value >= factor && value % factor === 0)
  const [unit, factor] = fitting.at(-1) ?? Object.entries(units)[0] ?? ['', 1]
  return `${value / factor}${unit}`
}

/** The longest that a timer of Node can wait: 24 days and a half. */
const MAX_TIMER_MS = 2 ** 31 - 1

/** Milliseconds, written `500ms`, `30s`, `5m`, `1h`, `7d`. */
export const duration = (least = 0, most = MAX_TIMER_MS): Kind<number> => ({
  unit: 'duration',
  expects: `a duration such as 500ms, 30s or 5m, from ${showWithUnit(least, DURATION_UNITS_MS)} to ${
    most === MAX_TIMER_MS ? '24d' : showWithUnit(most, DURATION_UNITS_MS)
  }`,
  read: (input) => {
    const value = input === 0 || input === '0' ? 0 : readWithUnit(input, DURATION_UNITS_MS)
    return value !== undefined && value >= least && value <= most ? value : undefined
  },
  show: (value) => showWithUnit(value, DURATION_UNITS_MS),
})

/** Bytes, written `1048576`, `64KiB`, `1MiB`. */
export const size = (least: number, most: number): Kind<number> => ({
  unit: 'size',
  expects: `a size such as 64KiB or 1MiB, from ${showWithUnit(least, SIZE_UNITS_BYTES)} to ${showWithUnit(most, SIZE_UNITS_BYTES)}`,
  read: (input) => {
    const value = readInteger(input) ?? readWithUnit(input, SIZE_UNITS_BYTES)
    return value !== undefined && value >= least && value <= most ? value : undefined
  },
  show: (value) => showWithUnit(value, SIZE_UNITS_BYTES),
})

function readInteger(input: unknown): number | undefined {
  const value = typeof input === 'string' && /^\d+$/.test(input.trim()) ? Number(input) : input
  return typeof value === 'number' && Number.isSafeInteger(value) ? value : undefined
}

export const integer = (least: number, most: number): Kind<number> => ({
  unit: 'number',
  expects: `a whole number from ${least} to ${most}`,
  read: (input) => {
    const value = readInteger(input)
    return value !== undefined && value >= least && value <= most ? value : undefined
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
    // YAML reads digits as a number, which must not lose any of them.
    const value = Number.isSafeInteger(input) ? String(input) : input
    return typeof value === 'string' && pattern.test(value) ? value : undefined
  },
  show: (value) => value,
})

export const choice = <T extends string>(...choices: readonly T[]): Kind<T> => ({
  unit: 'choice',
  expects: `one of ${choices.join(', ')}`,
  read: (input) => choices.find((one) => one === input),
  show: (value) => value,
})

/** One or more values of a kind: comma-separated, or a list in the file. */
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

/** An address to fetch something from. */
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

/** A Redis address, as ioredis reads it. */
export const redisUrl: Kind<string> = {
  unit: 'url',
  expects: 'redis://[user:password@]host[:port][/database], or rediss:// for TLS',
  read: (input) => {
    if (typeof input !== 'string' || !URL.canParse(input)) return undefined
    const url = new URL(input)
    return ['redis:', 'rediss:'].includes(url.protocol) && url.hostname !== '' ? input : undefined
  },
  show: (value) => value,
}

/** A token that clients share, and the user that it stands for. */
export interface StaticToken {
  readonly user: string
  readonly token: string
}

/** What ends in = is a token of at least 14 random bytes, or a user whose token was forgotten. */
const PADDED_BASE64 = /^(?=.{20,}$)(?:[\w+/-]{4})*[\w+/-]{2,3}={1,2}$/

export const staticToken: Kind<StaticToken> = {
  unit: 'token',
  expects: 'token, or user=token',
  read: (input) => {
    if (typeof input !== 'string') return undefined
    if (PADDED_BASE64.test(input)) return { user: '', token: input }
    const match = /^(?:([^=\s]+)=)?([^=\s]\S*)$/.exec(input)
    const isForgotten = match?.[1] === undefined && input.endsWith('=')
    return match?.[2] === undefined || isForgotten ? undefined : { user: match[1] ?? '', token: match[2] }
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
