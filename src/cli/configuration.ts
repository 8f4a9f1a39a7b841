import { type Command, InvalidArgumentError } from 'commander'
import { closest } from 'fastest-levenshtein'
import { duration } from '../config/kinds.js'
import { type LoadedConfig, loadConfig, type Problem } from '../config/load.js'
import { flagName, SETTING_KEYS, settingOf } from '../config/settings.js'
import { UsageError } from './usage-error.js'

/**
 * Adds `--config` and a flag for every setting. Unknown arguments are left to `readConfiguration`, which reports them
 * together with all other problems.
 */
export function withSettings(command: Command): Command {
  command.allowUnknownOption().allowExcessArguments()
  command.option('--config <file>', 'YAML or JSON file with settings')
  for (const key of SETTING_KEYS) {
    const { kind, meaning } = settingOf(key)
    command.option(`${flagName(key)} <${kind.unit}>`, meaning)
  }
  return command
}

/**
 * Reads the settings from flags (commander's options, and the arguments that it did not recognize), environment, file
 * and defaults. Problems are part of the result.
 */
export function readConfiguration(
  options: Readonly<Record<string, unknown>>,
  unknownArguments: readonly string[] = [],
): LoadedConfig {
  const { config: file, ...flags } = options
  const inputs = { flags, environment: process.env, file: typeof file === 'string' ? file : undefined }
  const loaded = loadConfig(inputs)
  return { ...loaded, problems: [...argumentProblems(unknownArguments), ...loaded.problems] }
}

/** The same, but throws a UsageError that lists every problem. */
export function readValidConfiguration(
  options: Readonly<Record<string, unknown>>,
  unknownArguments: readonly string[] = [],
): LoadedConfig {
  const loaded = readConfiguration(options, unknownArguments)
  if (loaded.problems.length > 0) throw new UsageError(describeProblems(loaded))
  return loaded
}

/**
 * The problems of arguments that commander did not recognize: unknown flags, and words that belong to no flag. A
 * message repeats only what is plainly meant for a flag: any other word may be a secret.
 */
export function argumentProblems(unknownArguments: readonly string[]): Problem[] {
  const flags = ['--config', ...SETTING_KEYS.map(flagName)]
  const problems: Problem[] = []
  /** Whether the next word may be the value of an unknown flag. */
  let mayBeValue = false
  let hasStrayWords = false
  for (const word of unknownArguments) {
    if (word.startsWith('--') && word.length > 2) {
      const [where = word] = word.split('=', 1)
      const isAfterDoubleDash = flags.includes(where)
      const what = isAfterDoubleDash
        ? 'is behind --, where nothing is looked for'
        : `is not a setting; did you mean ${closest(where, flags)}?`
      problems.push({ where, what })
      mayBeValue = where === word
    } else {
      if (!mayBeValue && word !== '--') hasStrayWords = true
      mayBeValue = false
    }
  }
  if (hasStrayWords) {
    const what = 'has a word that belongs to no flag; settings are given as --port 8000'
    problems.push({ where: 'the command line', what })
  }
  return problems
}

/** One line for each problem, below a line with their number. */
export function describeProblems({ problems }: Pick<LoadedConfig, 'problems'>): string {
  const lines = problems.map(({ where, what }) => `  ${where}: ${what}`)
  const count = problems.length === 1 ? 'a problem' : `${problems.length} problems`
  return [`${count} in the configuration`, ...lines].join('\n')
}

/** Parses the duration of a flag that is not a setting. Returns milliseconds; throws InvalidArgumentError. */
export function parseDuration(text: string): number {
  const kind = duration(1)
  const value = kind.read(text)
  if (value === undefined) throw new InvalidArgumentError(`Use ${kind.expects}.`)
  return value
}
