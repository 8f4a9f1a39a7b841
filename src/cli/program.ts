import { Command, CommanderError, Option } from 'commander'
import { describeConfig, describeDefaults } from '../config/describe.js'
import { errorMessage } from '../error-message.js'
import { packageVersion } from '../version.js'
import {
  argumentProblems,
  describeProblems,
  parseDuration,
  readConfiguration,
  withSettings,
} from './configuration.js'
import { DEFAULT_TOKEN_HEADER, runMonitor } from './monitor/monitor.js'
import { type PublishCommandOptions, publish } from './publish.js'
import { serve } from './serve.js'
import { mintToken, type TokenOptions } from './token.js'
import { UsageError } from './usage-error.js'

/** Exit codes, on which scripts and service managers rely. */
const EXIT = { ok: 0, failed: 1, usage: 2 } as const

interface MonitorFlags {
  readonly channel?: string
  readonly token?: string
  readonly header: string
  readonly report: number
  readonly binary?: boolean
}

/** Runs the command. Resolves with the exit code, after errors have been written to standard error. */
export async function runCommand(argv: readonly string[]): Promise<number> {
  let exitCode: number = EXIT.ok
  const program = new Command('fanfare')
    .description('A horizontally scaled WebSocket broadcast cluster.')
    .version(packageVersion())
    .exitOverride()
  withSettings(program.command('serve').description('run a node until SIGTERM; the default')).action(
    async (options, { args }: Command) => {
      exitCode = await serve(options, args)
    },
  )
  program
    .command('token')
    .description('make a JWT with the configured secret, for trying things out')
    .requiredOption('--user <user>', 'whom it is for')
    .option('--channel <channel>', 'a channel it allows, repeatable; default: all', collect)
    .addOption(
      new Option(
        '--subscribe <channel>',
        'make a subscription token instead, with which an SDK client that is this user may subscribe to the channel',
      ).conflicts('channel'),
    )
    .addOption(durationOption('--ttl <duration>', 'how long it is valid', '1h'))
    .option('--config <file>', 'YAML or JSON file with settings')
    .action((options: TokenOptions) => console.log(mintToken(options)))
  program
    .command('publish')
    .description('publish to a channel through the server API of a node')
    .argument('<channel>')
    .argument('<data>', 'JSON, or any text; - reads standard input')
    .option('--url <url>', 'the node, http:// or https://; default: the public address of the configuration')
    .option('--config <file>', 'YAML or JSON file with settings')
    .action((channel: string, data: string, options: PublishCommandOptions) =>
      publish(channel, data, options),
    )
  program
    .command('monitor')
    .description('report this machine’s CPU and memory to a channel, and print what others report')
    .argument('<ws-url>', 'a node, ws:// or wss://, such as ws://127.0.0.1:8000')
    .option('--channel <channel>', 'the channel; default: monitor')
    .option('--token <token>', 'the token to show')
    .option('--header <header>', 'the header that carries the token', DEFAULT_TOKEN_HEADER)
    .addOption(durationOption('--report <duration>', 'time between reports', '5s'))
    .option('--binary', 'report in binary frames')
    .action((url: string, flags: MonitorFlags) => monitor(url, flags))
  withSettings(
    program.command('config').description('print every setting, its value and where that came from'),
  )
    .option('--defaults', 'print only defaults')
    .action((options: Readonly<Record<string, unknown>>, { args }: Command) => printConfig(options, args))

  try {
    await program.parseAsync(withDefaultCommand(argv), { from: 'user' })
    return exitCode
  } catch (error) {
    // Commander has printed it already.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage
    console.error(`fanfare: ${errorMessage(error)}`)
    return error instanceof UsageError ? EXIT.usage : EXIT.failed
  }
}

/** Puts `serve` before flags without a command, and in place of no arguments. */
function withDefaultCommand(argv: readonly string[]): readonly string[] {
  const [first = '-'] = argv
  const isProgramFlag = ['-h', '--help', '-V', '--version'].includes(first)
  return first.startsWith('-') && !isProgramFlag ? ['serve', ...argv] : argv
}

function durationOption(flags: string, description: string, defaultText: string): Option {
  return new Option(flags, description)
    .argParser(parseDuration)
    .default(parseDuration(defaultText), defaultText)
}

function collect(value: string, previous: readonly string[] = []): readonly string[] {
  return [...previous, value]
}

async function monitor(
  url: string,
  { channel, token, header, report, binary = false }: MonitorFlags,
): Promise<void> {
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort())
  const options = { url, channel, token, header, reportIntervalMs: report, binary }
  await runMonitor(options, { print: (line) => console.log(line), signal: stop.signal })
}

/** Prints invalid settings too, before their problems: where a value comes from shows the operator what to change. */
function printConfig(
  { defaults, ...options }: Readonly<Record<string, unknown>>,
  unknownArguments: readonly string[],
): void {
  if (defaults === true) {
    const problems = argumentProblems(unknownArguments)
    if (problems.length > 0) throw new UsageError(describeProblems({ problems }))
    console.log(describeDefaults())
    return
  }
  const loaded = readConfiguration(options, unknownArguments)
  console.log(describeConfig(loaded))
  if (loaded.problems.length > 0) throw new UsageError(describeProblems(loaded))
}
