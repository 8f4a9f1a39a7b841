import { type Command, InvalidArgumentError } from 'commander'
import { closest } from 'fastest-levenshtein'
import { duration } from '../config/kinds.js'
import { type Loaded, loadConfig, type Problem } from '../config/load.js'
import { flagName, SETTING_KEYS, settingOf } from '../config/settings.js'

/** Something is wrong with what was asked for: exit code 2. The message is for people, one or more lines. */
export class UsageError extends Error {}

/** Adds `--config` and a flag for every setting. What else is given is left to `readConfiguration`, to be told with all that is wrong. */
export function withSettings(command: Command): Command {
  command.allowUnknownOption().allowExcessArguments()
  command.option('--config <file>', 'YAML or JSON file with settings')
  for (const key of SETTING_KEYS) {
    const { kind, meaning } = settingOf(key)
    command.option(`${flagName(key)} <${kind.unit}>`, meaning)
  }
  return command
}

/** What flags (as commander hands them over, and what it left over), environment, file and defaults come to. */
export function readConfiguration(
  options: Readonly<Record<string, unknown>>,
  leftOver: readonly string[] = [],
): Loaded {
  const { config: file, ...flags } = options
  const inputs = { flags, environment: process.env, file: typeof file === 'string' ? file : undefined }
  const loaded = loadConfig(inputs)
  return { ...loaded, problems: [...unknownArguments(leftOver), ...loaded.problems] }
}

/** The same, or a UsageError that holds every problem. */
export function readValidConfiguration(
  options: Readonly<Record<string, unknown>>,
  leftOver: readonly string[] = [],
): Loaded {
  const loaded = readConfiguration(options, leftOver)
  if (loaded.problems.length > 0) throw new UsageError(describeProblems(loaded))
  return loaded
}

/**
 * Flags that are none, and words that belong to no flag. Only what is plainly meant for a flag is repeated: any other
 * word may be a secret.
 */
export function unknownArguments(leftOver: readonly string[]): Problem[] {
  const flags = ['--config', ...SETTING_KEYS.map(flagName)]
  const problems: Problem[] = []
  let mayBeValue = false
  let hasStrayWords = false
  for (const word of leftOver) {
    if (word.startsWith('--') && word.length > 2) {
      const [where = word] = word.split('=', 1)
      const isBehindDashes = flags.includes(where)
      const what = isBehindDashes
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

export function describeProblems({ problems }: Pick<Loaded, 'problems'>): string {
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
