import { closest } from 'fastest-levenshtein'
import isSafe from 'safe-regex2'
import { DEFAULT_NAMESPACE_OPTIONS, type NamespaceOptions } from '../channel/namespaces.js'
import { boolean, choice, duration, integer, type Kind } from './kinds.js'

type OptionKey = Exclude<keyof NamespaceOptions, 'name'>

/** Publications that a channel may keep at the most. */
const MAX_HISTORY_SIZE = 100_000
const MAX_REGEX_LENGTH = 255
/** More would be felt by everybody. */
export const MAX_DELIVERY_DELAY_MS = 1_000
const NAME = /^[\w.-]{0,64}$/

const regex: Kind<RegExp> = {
  unit: 'regex',
  expects:
    'a regular expression of at most 255 characters, without nested repetitions, which could take for ever',
  read: (input) => {
    if (typeof input !== 'string' || input.length > MAX_REGEX_LENGTH) return undefined
    try {
      const pattern = new RegExp(input)
      return isSafe(pattern) ? pattern : undefined
    } catch {
      return undefined
    }
  },
  show: ({ source }) => source,
}

/** How each option is read. Keys are those of NamespaceOptions. */
const KINDS: Readonly<Record<OptionKey, Kind<unknown>>> = {
  presence: boolean,
  joinLeave: boolean,
  forcePushJoinLeave: boolean,
  historySize: integer(0, MAX_HISTORY_SIZE),
  historyTtlMs: duration(),
  // Longer than a timer can wait, for no timer waits for it.
  historyMetaTtlMs: {
    ...duration(1),
    expects: 'a duration such as 12h or 30d, from 1ms to 9999d',
    read: (input) => readDays(input) ?? duration(1).read(input),
  },
  forcePositioning: boolean,
  forceRecovery: boolean,
  forceRecoveryMode: choice('stream', 'cache'),
  allowSubscribeForClient: boolean,
  allowSubscribeForAnonymous: boolean,
  allowUserLimitedChannels: boolean,
  allowPublishForSubscriber: boolean,
  allowPublishForClient: boolean,
  allowPublishForAnonymous: boolean,
  allowHistoryForSubscriber: boolean,
  allowHistoryForClient: boolean,
  allowHistoryForAnonymous: boolean,
  allowPresenceForSubscriber: boolean,
  allowPresenceForClient: boolean,
  allowPresenceForAnonymous: boolean,
  channelRegex: regex,
  publicationDataFormat: choice('json', 'any'),
  deliveryDelayMs: duration(0, MAX_DELIVERY_DELAY_MS),
} as Readonly<Record<OptionKey, Kind<unknown>>>

const OPTION_KEYS = Object.keys(KINDS) as OptionKey[]

function readDays(input: unknown): number | undefined {
  const days = typeof input === 'string' ? /^(\d{1,4})d$/.exec(input)?.[1] : undefined
  return days === undefined || Number(days) === 0 ? undefined : Number(days) * 86_400_000
}

/** `historyTtlMs` is written `history_ttl`. */
export function namespaceOptionName(key: string): string {
  return key.replace(/Ms$/, '').replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
}

const KEY_OF = new Map(OPTION_KEYS.map((key) => [namespaceOptionName(key), key]))

/** A list of namespaces, as JSON text or as YAML gave it. */
export const namespaces: Kind<readonly NamespaceOptions[]> = {
  unit: 'list',
  expects: 'a list such as [{"name":"chat","presence":true}]',
  read: (input) => {
    const { list, problems } = readList(input)
    return problems.length === 0 ? list : undefined
  },
  problem: (input) => readList(input).problems.join('; ') || undefined,
  show: (list) => JSON.stringify(list.map(toWritten)),
  brief: (list) => list.map(({ name }) => name || '""').join(', '),
}

function readList(input: unknown): { list: readonly NamespaceOptions[]; problems: string[] } {
  let value = input
  if (typeof input === 'string') {
    try {
      value = JSON.parse(input)
    } catch {
      return { list: [], problems: ['is not JSON'] }
    }
  }
  if (!Array.isArray(value)) return { list: [], problems: [`must be ${namespaces.expects}`] }
  const problems: string[] = []
  const list = value.map((one: unknown, index) => readOne(one, index, problems))
  const names = list.map(({ name }) => name)
  for (const name of new Set(names.filter((one, index) => names.indexOf(one) !== index))) {
    problems.push(`"${name}" is there twice`)
  }
  return { list, problems }
}

function readOne(value: unknown, index: number, problems: string[]): NamespaceOptions {
  const given: Partial<Record<string, unknown>> = {}
  const problemsBefore = problems.length
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    problems.push(`entry ${index + 1} must be an object such as {"name":"chat","presence":true}`)
    return { ...DEFAULT_NAMESPACE_OPTIONS, name: '' }
  }
  const { name, ...options } = value as Record<string, unknown>
  const where = typeof name === 'string' ? `namespace "${name}"` : `entry ${index + 1}`
  if (typeof name !== 'string' || !NAME.test(name)) {
    problems.push(
      `${where}: name must be up to 64 letters, digits and - _ . ("" for channels without a prefix)`,
    )
  }
  for (const [written, input] of Object.entries(options)) {
    const key = KEY_OF.get(written)
    if (key === undefined) {
      const nearest = closest(written, [...KEY_OF.keys()])
      problems.push(`${where}: ${written} is not an option; did you mean ${nearest}?`)
      continue
    }
    const option = KINDS[key].read(input)
    if (option === undefined) problems.push(`${where}: ${written} must be ${KINDS[key].expects}`)
    else given[key] = option
  }
  const namespace: NamespaceOptions = {
    ...DEFAULT_NAMESPACE_OPTIONS,
    ...given,
    name: typeof name === 'string' ? name : '',
  }
  // An option that can't be read stands at its default, which says nothing about what was meant.
  if (problems.length > problemsBefore) return namespace
  for (const contradiction of contradictionsOf(namespace)) problems.push(`${where}: ${contradiction}`)
  return namespace
}

function contradictionsOf(namespace: NamespaceOptions): string[] {
  const { historySize, historyTtlMs, forceRecovery, forcePositioning, joinLeave } = namespace
  const found: string[] = []
  if (historySize > 0 !== historyTtlMs > 0) found.push('history_size and history_ttl go together')
  if (historySize === 0 && (forceRecovery || forcePositioning)) {
    found.push('force_recovery and force_positioning need history_size and history_ttl')
  }
  if (namespace.forcePushJoinLeave && !joinLeave) found.push('force_push_join_leave needs join_leave')
  return found
}

/** Only what differs from the defaults. */
function toWritten(namespace: NamespaceOptions): Record<string, unknown> {
  const written: Record<string, unknown> = { name: namespace.name }
  for (const key of OPTION_KEYS) {
    const value = namespace[key]
    if (value === DEFAULT_NAMESPACE_OPTIONS[key]) continue
    const isPlain = typeof value === 'boolean' || typeof value === 'number'
    written[namespaceOptionName(key)] = isPlain && !key.endsWith('Ms') ? value : KINDS[key].show(value)
  }
  return written
}
