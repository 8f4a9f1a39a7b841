import { readFileSync } from 'node:fs'
import { closest } from 'fastest-levenshtein'
import { parse as parseYaml } from 'yaml'
import { contradictions, weaknesses } from './rules.js'
import { isServiceLink } from './service-links.js'
import {
  type Config,
  environmentName,
  flagName,
  SETTING_KEYS,
  type SettingKey,
  settingOf,
} from './settings.js'

export type Source = 'default' | 'file' | 'environment' | 'flag' | 'option'

/** Something wrong with the configuration: where it was said, and what would be right. */
export interface Problem {
  readonly where: string
  readonly what: string
}

export interface Loaded {
  readonly config: Config
  readonly sources: Readonly<Record<SettingKey, Source>>
  /** Settings that stand at their default because what this source gave could not be read. */
  readonly invalid: ReadonlyMap<SettingKey, Source>
  readonly problems: readonly Problem[]
  /** Things worth one line in the log. */
  readonly warnings: readonly string[]
}

export interface Inputs {
  /** Values of flags by setting key. */
  readonly flags?: Readonly<Record<string, unknown>>
  readonly environment?: Readonly<Record<string, string | undefined>>
  /** Path of a YAML or JSON file. */
  readonly file?: string | undefined
  /** Values by setting key, of an application that embeds a node. */
  readonly options?: Readonly<Record<string, unknown>>
  /** Whether that application decides who may connect, so that no secret has to be set. */
  readonly isAuthenticatedElsewhere?: boolean
}

interface Given {
  readonly source: Source
  readonly where: string
  readonly input: unknown
}

/** Merges options over flags over environment over file over defaults, and reports every problem at once. Never throws. */
export function loadConfig(inputs: Inputs): Loaded {
  const problems: Problem[] = []
  const given = new Map<SettingKey, Given>()
  const file = readFile(inputs.file, problems)
  const environment = readEnvironment(inputs.environment ?? {}, problems)
  const options = readKeys(inputs.options ?? {}, 'option', (key) => key, problems)
  for (const [key, value] of [...file, ...environment.given, ...readFlags(inputs.flags ?? {}), ...options]) {
    given.set(key, value)
  }

  const values: Record<string, unknown> = {}
  const sources: Record<string, Source> = {}
  const invalid = new Map<SettingKey, Source>()
  for (const key of SETTING_KEYS) {
    const setting = settingOf(key)
    const from = given.get(key)
    const value = from === undefined ? setting.default : setting.kind.read(from.input)
    if (from !== undefined && value === undefined) {
      const shown = setting.secret === undefined ? JSON.stringify(from.input) : 'the value'
      const what = setting.kind.problem?.(from.input) ?? `${shown} is not right; use ${setting.kind.expects}`
      problems.push({ where: from.where, what })
      invalid.set(key, from.source)
    }
    values[key] = value ?? setting.default
    sources[key] = invalid.has(key) ? 'default' : (from?.source ?? 'default')
  }
  const config = values as Config
  // A setting that can't be read stands at its default, which says nothing about what was meant.
  for (const { keys, what } of contradictions(config, inputs.isAuthenticatedElsewhere ?? false)) {
    const [blamed] = keys
    if (keys.some((key) => invalid.has(key))) continue
    problems.push({ where: given.get(blamed)?.where ?? environmentName(blamed), what })
  }
  return {
    config,
    sources: sources as Record<SettingKey, Source>,
    problems,
    invalid,
    warnings: [...environment.warnings, ...weaknesses(config)],
  }
}

function isSettingKey(key: string): key is SettingKey {
  return Object.hasOwn(SETTING_KEYS_BY_NAME, key)
}

const SETTING_KEYS_BY_NAME = Object.fromEntries(SETTING_KEYS.map((key) => [key, true]))

function readFile(path: string | undefined, problems: Problem[]): [SettingKey, Given][] {
  if (path === undefined) return []
  let content: unknown
  try {
    content = parseYaml(readFileSync(path, 'utf8'))
  } catch (error) {
    problems.push({ where: path, what: error instanceof Error ? firstLine(error.message) : String(error) })
    return []
  }
  if (content === null) return []
  if (typeof content !== 'object' || Array.isArray(content)) {
    problems.push({ where: path, what: 'must hold settings, such as "port: 8000"' })
    return []
  }
  return readKeys(content, 'file', (key) => `${key} (${path})`, problems)
}

function readKeys(
  values: object,
  source: Source,
  where: (key: string) => string,
  problems: Problem[],
): [SettingKey, Given][] {
  const given: [SettingKey, Given][] = []
  for (const [key, input] of Object.entries(values)) {
    if (input === undefined) continue
    if (isSettingKey(key)) {
      given.push([key, { source, where: where(key), input }])
    } else {
      const nearest = closest(key, SETTING_KEYS)
      problems.push({ where: where(key), what: `is not a setting; did you mean ${nearest}?` })
    }
  }
  return given
}

function firstLine(message: string): string {
  return message.split('\n')[0] ?? message
}

function readEnvironment(environment: NonNullable<Inputs['environment']>, problems: Problem[]) {
  const keyOf = new Map(SETTING_KEYS.map((key) => [environmentName(key), key]))
  const given: [SettingKey, Given][] = []
  const links: string[] = []
  for (const [name, value] of Object.entries(environment)) {
    if (!name.startsWith('FANFARE_') || value === undefined) continue
    const key = keyOf.get(name)
    if (isServiceLink(name, value)) {
      links.push(name)
    } else if (key === undefined) {
      const nearest = closest(name, [...keyOf.keys()])
      problems.push({ where: `${name} (environment)`, what: `is not a setting; did you mean ${nearest}?` })
    } else if (value !== '') {
      given.push([key, { source: 'environment', where: `${name} (environment)`, input: value }])
    }
  }
  const warnings =
    links.length === 0
      ? []
      : [
          `ignored ${links.join(', ')}: they come from a Kubernetes Service called fanfare; set enableServiceLinks: false`,
        ]
  return { given, warnings }
}

function readFlags(flags: NonNullable<Inputs['flags']>): [SettingKey, Given][] {
  return Object.entries(flags)
    .filter((entry): entry is [SettingKey, unknown] => isSettingKey(entry[0]) && entry[1] !== undefined)
    .map(([key, input]) => [key, { source: 'flag', where: flagName(key), input }])
}
