import { Command, CommanderError, InvalidArgumentError, Option } from 'commander'
import { faultNamed } from './catalogue.js'
import { SABOTAGE_NAMES, type SabotageName } from './ledger/sabotage.js'
import { TOPOLOGY_NAMES, type TopologyName } from './topologies.js'

/** What `npm run faults` was asked for. */
export interface FaultArguments {
  /** Faults to run; none: all. */
  readonly names: readonly string[]
  readonly isList: boolean
  /** Topologies to run on; none: all that each fault applies to. */
  readonly topologies: readonly TopologyName[]
  readonly seed: number
  readonly seeds: number
  /** Repeats with new seeds until so many minutes have passed. */
  readonly minutes: number | undefined
  readonly report: string | undefined
  readonly sabotages: readonly SabotageName[]
}

interface Flags {
  readonly list?: boolean
  readonly topology?: TopologyName[]
  readonly seed: number
  readonly seeds: number
  readonly minutes?: number
  readonly report?: string
  readonly sabotage?: SabotageName | 'all'
}

/** As of the `fanfare` command; 1 says that a property was violated. */
const EXIT_USAGE = 2
const MAX_SEED = 2 ** 31 - 1
const MAX_MINUTES = 7 * 24 * 60

/** A mistake in the arguments, which commander has described, or a request for help, which it has answered. */
export class ArgumentsEnd extends Error {
  constructor(readonly exitCode: number) {
    super('the arguments end the command')
  }
}

/** Reads the arguments. Throws an ArgumentsEnd after what commander has printed. */
export function readArguments(argv: readonly string[]): FaultArguments {
  const command = new Command('npm run faults --')
    .description(
      'Starts clusters, injects faults, and checks that what Fanfare promises is kept: docs/faults.md.',
    )
    .argument('[name...]', 'faults to run; default: all', known)
    .option('--list', 'list the faults and topologies')
    .addOption(
      new Option('--topology <name>', 'run on this topology alone, repeatable')
        .choices(TOPOLOGY_NAMES)
        .argParser((value, before: TopologyName[] = []) => [...before, topology(value)]),
    )
    .addOption(numberOption('--seed <n>', 'the first seed', MAX_SEED).default(1))
    .addOption(numberOption('--seeds <n>', 'how many seeds each fault is run with', MAX_SEED).default(1))
    .addOption(
      numberOption('--minutes <n>', 'repeat with new seeds until so many minutes are over', MAX_MINUTES),
    )
    .addOption(
      new Option('--report <file>', 'write a report as Markdown, and as JSON beside it').argParser(markdown),
    )
    .addOption(
      new Option('--sabotage <kind>', 'break what the checker is told, and succeed only if it notices')
        .choices([...SABOTAGE_NAMES, 'all'])
        .conflicts(['minutes', 'report']),
    )
    .exitOverride()
  try {
    command.parse(argv, { from: 'user' })
  } catch (error) {
    // Help is no mistake.
    if (error instanceof CommanderError) throw new ArgumentsEnd(error.exitCode === 0 ? 0 : EXIT_USAGE)
    throw error
  }
  const { list = false, topology: topologies = [], sabotage, ...flags } = command.opts<Flags>()
  return {
    names: command.args,
    isList: list,
    topologies,
    seed: flags.seed,
    seeds: flags.seeds,
    minutes: flags.minutes,
    report: flags.report,
    sabotages: sabotage === undefined ? [] : sabotage === 'all' ? SABOTAGE_NAMES : [sabotage],
  }
}

function numberOption(flags: string, description: string, max: number): Option {
  return new Option(flags, description).argParser((value) => {
    const number = Number(value)
    if (Number.isInteger(number) && number >= 1 && number <= max) return number
    throw new InvalidArgumentError(`It is no whole number from 1 to ${max}.`)
  })
}

function topology(value: string): TopologyName {
  const name = TOPOLOGY_NAMES.find((one) => one === value)
  if (name === undefined) throw new InvalidArgumentError(`Allowed choices are ${TOPOLOGY_NAMES.join(', ')}.`)
  return name
}

function known(value: string, before: string[] = []): string[] {
  try {
    return [...before, faultNamed(value).name]
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : '')
  }
}

function markdown(value: string): string {
  if (value.endsWith('.md')) return value
  throw new InvalidArgumentError('Its name has to end with .md; the JSON has the same name with .json.')
}
