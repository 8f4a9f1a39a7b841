import { type Command, InvalidArgumentError } from 'commander'
import { duration } from '../config/kinds.js'
import { type Loaded, loadConfig } from '../config/load.js'
import { flagName, SETTING_KEYS, settingOf } from '../config/settings.js'

/** Something is wrong with what was asked for: exit code 2. The message is for people, one or more lines. */
export class UsageError extends Error {}

/** Adds `--config` and a flag for every setting. */
export function withSettings(command: Command): Command {
  command.option('--config <file>', 'YAML or JSON file with settings')
  for (const key of SETTING_KEYS) {
    const { kind, meaning } = settingOf(key)
    command.option(`${flagName(key)} <${kind.unit}>`, meaning)
  }
  return command
}

/** What flags (as commander hands them over), environment, file and defaults come to. */
export function readConfiguration(options: Readonly<Record<string, unknown>>): Loaded {
  const { config: file, ...flags } = options
  return loadConfig({ flags, environment: process.env, file: typeof file === 'string' ? file : undefined })
}

/** The same, or a UsageError that holds every problem. */
export function readValidConfiguration(options: Readonly<Record<string, unknown>>): Loaded {
  const loaded = readConfiguration(options)
  if (loaded.problems.length > 0) throw new UsageError(describeProblems(loaded))
  return loaded
}

export function describeProblems({ problems }: Loaded): string {
  const lines = problems.map(({ where, what }) => `  ${where}: ${what}`)
  const count = problems.length === 1 ? 'a problem' : `${problems.length} problems`
  return [`${count} in the configuration`, ...lines].join('\n')
}

/** Parses a duration of a flag that is not a setting, in milliseconds. */
export function parseDuration(text: string): number {
  const kind = duration(1)
  const value = kind.read(text)
  if (value === undefined) throw new InvalidArgumentError(`Use ${kind.expects}.`)
  return value
}
