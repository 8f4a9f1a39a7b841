import { duration } from '../../src/config/kinds.js'
import { Keys } from '../../src/redis/keys.js'
import { codesIn, type Page } from './page.js'

/** The patterns of the placeholders that the documentation uses in keys. */
const PARTS: Readonly<Record<string, string>> = {
  channel: '[a-z]+',
  node: '[0-9a-f-]{36}',
  digest: '[\\w-]{43}',
}

/** Whether a key or a Redis channel of a node is the one that is documented, without its prefix, as `lease:<node>`. */
export function isDocumentedAs(documented: string, name: string): boolean {
  const escaped = documented.replace(/[{}]/g, '\\$&')
  const pattern = escaped.replace(/<(\w+)>/g, (_, part: string) => PARTS[part] ?? 'unknown')
  return new RegExp(`^fanfare:${pattern}$`).test(name)
}

/** A key as a row of a table documents it. */
export interface DocumentedKey {
  /** Where it is documented, for the message of a check that fails. */
  readonly at: string
  readonly key: string
  readonly type: string
  /** In milliseconds, as PTTL answers right after it was set: -1 for none. */
  readonly lifetimeMs: number
}

/**
 * Reads a table of keys, their types and lifetimes. A lifetime is a duration, `none`, or an option of the namespace.
 * @param options the namespace's durations
 */
export function documentedKeys(
  page: Page,
  section: string,
  options: Readonly<Record<string, string>> = {},
): readonly DocumentedKey[] {
  return page.rows(section).map(({ line, cells: [key = '', type = '', lifetime = ''] }) => {
    const word = /\w+/.exec(lifetime)?.[0] ?? ''
    const lifetimeMs = word === 'none' ? -1 : (duration().read(options[word] ?? word) ?? Number.NaN)
    return { at: page.at(line), key: codesIn(key)[0] ?? '', type, lifetimeMs }
  })
}

/** The arguments with which the methods of Keys return keys and Redis channels as the documentation writes them. */
const NAME_PARTS: { readonly [K in Exclude<keyof Keys, 'isCluster' | 'channelOf'>]: readonly string[] } = {
  era: [],
  channelEvents: ['<channel>'],
  stream: ['<channel>'],
  streamMeta: ['<channel>'],
  idempotency: ['<channel>', 'key'],
  allNodesMessages: [],
  nodeMessages: ['<node>'],
  knownNodes: [],
  lease: ['<node>'],
  presenceClients: ['<channel>'],
  presenceUsers: ['<channel>'],
  presenceOfNode: ['<node>', '<channel>'],
  presenceChannels: ['<node>'],
  sweepLock: ['<node>'],
  swept: ['<node>'],
}

/** The keys and Redis channels of the code, with their prefix. */
export function keysInCode(): readonly string[] {
  const keys = new Keys('fanfare') as unknown as Record<string, (...parts: readonly string[]) => string>
  return Object.entries(NAME_PARTS).map(([method, parts]) =>
    String(keys[method]?.(...parts)).replace(/[\w-]{43}$/, '<digest>'),
  )
}
