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
  return { ...loaded, problems: [...strangers(leftOver), ...loaded.problems] }
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
 * Flags that are none, and words that belong to no flag. The word behind such a flag is taken for its value, which may
 * be a secret, and not repeated.
 */
export function strangers(leftOver: readonly string[]): Problem[] {
  const flags = ['--config', ...SETTING_KEYS.map(flagName)]
  const problems: Problem[] = []
  const words = leftOver.values()
  for (const word of words) {
    const [name = word] = word.split('=', 1)
    if (flags.includes(name)) {
      words.next()
      problems.push({ where: name, what: 'is behind --, where nothing is looked for' })
    } else if (word.startsWith('-')) {
      if (!word.includes('=')) words.next()
      problems.push({ where: name, what: `is not a setting; did you mean ${closest(name, flags)}?` })
    } else problems.push({ where: word, what: 'belongs to no flag; settings are given as --port 8000' })
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
