import { readFileSync } from 'node:fs'
import { closest } from 'fastest-levenshtein'
import { parse as parseYaml } from 'yaml'
import { errorMessage } from '../error-message.js'
import { ruleViolations, securityWarnings } from './rules.js'
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

/** A mistake in the configuration. */
export interface Problem {
  /** Where it was made: a flag, a variable, or a key of a file. */
  readonly where: string
  /** What is wrong, and what would be right. */
  readonly what: string
}

export interface LoadedConfig {
  readonly config: Config
  readonly sources: Readonly<Record<SettingKey, Source>>
  /** Settings that have their default because the input from this source is not valid. */
  readonly invalid: ReadonlyMap<SettingKey, Source>
  readonly problems: readonly Problem[]
  /** Sentences for the log, one line each, about inputs that work but should be changed. */
  readonly warnings: readonly string[]
}

export interface ConfigInputs {
  /** Inputs of flags, by setting key; other keys are ignored. */
  readonly flags?: Readonly<Record<string, unknown>>
  readonly environment?: Readonly<Record<string, string | undefined>>
  /** Path of a YAML or JSON file with inputs by setting key. */
  readonly file?: string | undefined
  /** Inputs of an application that embeds a node, by setting key. */
  readonly options?: Readonly<Record<string, unknown>>
  /** Whether that application authenticates clients itself, so that no secret has to be set. */
  readonly isAuthenticatedElsewhere?: boolean
}

/** What a source has for a setting, not parsed yet. */
interface SettingInput {
  readonly source: Source
  /** As in `Problem`. */
  readonly where: string
  readonly input: unknown
}

/**
 * Merges options over flags over environment over file over defaults, and reports all problems together. Never throws:
 * with problems, `config` has the defaults of the settings concerned.
 */
export function loadConfig(inputs: ConfigInputs): LoadedConfig {
  const problems: Problem[] = []
  const inputOf = new Map<SettingKey, SettingInput>()
  const file = readFile(inputs.file, problems)
  const environment = readEnvironment(inputs.environment ?? {}, problems)
  const options = readKeys(inputs.options ?? {}, 'option', (key) => key, problems)
  for (const [key, input] of [...file, ...environment.found, ...readFlags(inputs.flags ?? {}), ...options]) {
    inputOf.set(key, input)
  }

  const values: Record<string, unknown> = {}
  const sources: Record<string, Source> = {}
  const invalid = new Map<SettingKey, Source>()
  for (const key of SETTING_KEYS) {
    const setting = settingOf(key)
    const given = inputOf.get(key)
    const value = given === undefined ? setting.default : setting.kind.read(given.input)
    if (given !== undefined && value === undefined) {
      const shown = setting.secret === undefined ? JSON.stringify(given.input) : 'the value'
      const what = setting.kind.problem?.(given.input) ?? `${shown} is not right; use ${setting.kind.expects}`
      problems.push({ where: given.where, what })
      invalid.set(key, given.source)
    }
    values[key] = value ?? setting.default
    sources[key] = invalid.has(key) ? 'default' : (given?.source ?? 'default')
  }
  const config = values as Config
  // A rule that involves an invalid setting is not reported: its default is not what the operator meant to set.
  for (const { keys, what } of ruleViolations(config, inputs.isAuthenticatedElsewhere ?? false)) {
    const [blamed] = keys
    if (keys.some((key) => invalid.has(key))) continue
    problems.push({ where: inputOf.get(blamed)?.where ?? environmentName(blamed), what })
  }
  return {
    config,
    sources: sources as Record<SettingKey, Source>,
    problems,
    invalid,
    warnings: [...environment.warnings, ...securityWarnings(config)],
  }
}

function isSettingKey(key: string): key is SettingKey {
  return KNOWN_KEYS.has(key)
}

const KNOWN_KEYS: ReadonlySet<string> = new Set(SETTING_KEYS)

/** The inputs of a configuration file. Empty, with a problem, when it can't be read. */
function readFile(path: string | undefined, problems: Problem[]): [SettingKey, SettingInput][] {
  if (path === undefined) return []
  let content: unknown
  try {
    content = parseYaml(readFileSync(path, 'utf8'))
  } catch (error) {
    problems.push({ where: path, what: firstLine(errorMessage(error)) })
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
): [SettingKey, SettingInput][] {
  const found: [SettingKey, SettingInput][] = []
  for (const [key, input] of Object.entries(values)) {
    if (input === undefined) continue
    if (isSettingKey(key)) {
      found.push([key, { source, where: where(key), input }])
    } else {
      const nearest = closest(key, SETTING_KEYS)
      problems.push({ where: where(key), what: `is not a setting; did you mean ${nearest}?` })
    }
  }
  return found
}

function firstLine(message: string): string {
  return message.split('\n')[0] ?? message
}

function readEnvironment(environment: NonNullable<ConfigInputs['environment']>, problems: Problem[]) {
  const keyByName = new Map(SETTING_KEYS.map((key) => [environmentName(key), key]))
  const found: [SettingKey, SettingInput][] = []
  const serviceLinks: string[] = []
  for (const [name, value] of Object.entries(environment)) {
    if (!name.startsWith('FANFARE_') || value === undefined) continue
    const key = keyByName.get(name)
    if (isServiceLink(name, value)) {
      serviceLinks.push(name)
    } else if (key === undefined) {
      const nearest = closest(name, [...keyByName.keys()])
      problems.push({ where: `${name} (environment)`, what: `is not a setting; did you mean ${nearest}?` })
    } else if (value !== '') {
      found.push([key, { source: 'environment', where: `${name} (environment)`, input: value }])
    }
  }
  const warnings =
    serviceLinks.length === 0
      ? []
      : [
          `ignored ${serviceLinks.join(', ')}: they come from a Kubernetes Service called fanfare; set enableServiceLinks: false`,
        ]
  return { found, warnings }
}

function readFlags(flags: NonNullable<ConfigInputs['flags']>): [SettingKey, SettingInput][] {
  return Object.entries(flags)
    .filter((entry): entry is [SettingKey, unknown] => isSettingKey(entry[0]) && entry[1] !== undefined)
    .map(([key, input]) => [key, { source: 'flag', where: flagName(key), input }])
}
