import { closest } from 'fastest-levenshtein'
import isSafe from 'safe-regex2'
import { DEFAULT_NAMESPACE_OPTIONS, type NamespaceOptions } from '../channel/namespaces.js'
import { isRecord } from '../type-guards.js'
import { boolean, choice, duration, integer, type Kind } from './kinds.js'

type OptionKey = Exclude<keyof NamespaceOptions, 'name'>

/** The most publications that `history_size` may ask a channel to keep. */
const MAX_HISTORY_SIZE = 100_000
const MAX_REGEX_LENGTH = 255
/** The largest `delivery_delay`. Users notice a longer delay of every publication. */
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

/** The kind of each option. */
const KINDS: Readonly<Record<OptionKey, Kind<unknown>>> = {
  presence: boolean,
  joinLeave: boolean,
  forcePushJoinLeave: boolean,
  historySize: integer(0, MAX_HISTORY_SIZE),
  historyTtlMs: duration(),
  // May be longer than the longest timer, since no timer waits for it.
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

/** The name of an option in the configuration: `history_ttl` for `historyTtlMs`. */
export function namespaceOptionName(key: string): string {
  return key.replace(/Ms$/, '').replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
}

const KEY_BY_NAME = new Map(OPTION_KEYS.map((key) => [namespaceOptionName(key), key]))

/** A list of namespaces, as a JSON text or as a YAML list. */
export const namespaces: Kind<readonly NamespaceOptions[]> = {
  unit: 'list',
  expects: 'a list such as [{"name":"chat","presence":true}]',
  read: (input) => {
    const { list, problems } = readNamespaces(input)
    return problems.length === 0 ? list : undefined
  },
  problem: (input) => readNamespaces(input).problems.join('; ') || undefined,
  show: (list) => JSON.stringify(list.map(toConfigured)),
  brief: (list) => list.map(({ name }) => name || '""').join(', '),
}

function readNamespaces(input: unknown): { list: readonly NamespaceOptions[]; problems: string[] } {
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
  const list = value.map((entry: unknown, index) => readNamespace(entry, index, problems))
  const names = list.map(({ name }) => name)
  for (const name of new Set(names.filter((candidate, index) => names.indexOf(candidate) !== index))) {
    problems.push(`"${name}" is there twice`)
  }
  return { list, problems }
}

/** Reads an entry of the list, and adds all that is wrong with it to `problems`. */
function readNamespace(entry: unknown, index: number, problems: string[]): NamespaceOptions {
  const values: Partial<Record<string, unknown>> = {}
  const problemsBefore = problems.length
  if (!isRecord(entry)) {
    problems.push(`entry ${index + 1} must be an object such as {"name":"chat","presence":true}`)
    return { ...DEFAULT_NAMESPACE_OPTIONS, name: '' }
  }
  const { name, ...options } = entry
  const where = typeof name === 'string' ? `namespace "${name}"` : `entry ${index + 1}`
  if (typeof name !== 'string' || !NAME.test(name)) {
    problems.push(
      `${where}: name must be up to 64 letters, digits and - _ . ("" for channels without a prefix)`,
    )
  }
  for (const [optionName, input] of Object.entries(options)) {
    const key = KEY_BY_NAME.get(optionName)
    if (key === undefined) {
      const nearest = closest(optionName, [...KEY_BY_NAME.keys()])
      problems.push(`${where}: ${optionName} is not an option; did you mean ${nearest}?`)
      continue
    }
    const value = KINDS[key].read(input)
    if (value === undefined) problems.push(`${where}: ${optionName} must be ${KINDS[key].expects}`)
    else values[key] = value
  }
  const namespace: NamespaceOptions = {
    ...DEFAULT_NAMESPACE_OPTIONS,
    ...values,
    name: typeof name === 'string' ? name : '',
  }
  // Invalid options have their defaults here, so that contradictions between options would mislead.
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

/** The namespace as an entry of the configuration, without the options that have their defaults. */
function toConfigured(namespace: NamespaceOptions): Record<string, unknown> {
  const configured: Record<string, unknown> = { name: namespace.name }
  for (const key of OPTION_KEYS) {
    const value = namespace[key]
    if (value === DEFAULT_NAMESPACE_OPTIONS[key]) continue
    const isPlain = typeof value === 'boolean' || typeof value === 'number'
    configured[namespaceOptionName(key)] = isPlain && !key.endsWith('Ms') ? value : KINDS[key].show(value)
  }
  return configured
}
