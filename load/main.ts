/** `npm run load -- <scenario> [options]`: load tests and benchmarks; see load/README.md. */
import { errorMessage } from '../src/error-message.js'
import { CHANNELS_USAGE, runChannels } from './channels.js'
import { Cleanup } from './cleanup.js'
import { CONNECTS_USAGE, runConnects } from './connects.js'
import { runCpu } from './cpu/cpu.js'
import { CPU_USAGE } from './cpu/options.js'
import { IDLE_USAGE, runIdle } from './idle.js'
import { k6Usage, runK6 } from './k6-scenario.js'
import { PRESENCE_USAGE, runPresence } from './presence.js'
import { RELAY_USAGE, runRelay } from './relay/relay.js'

interface Scenario {
  usage: string
  summary: string
  /** Returns the exit code. Throws errors whose message is for the user. */
  run(args: string[], cleanup: Cleanup): Promise<number>
}

const SCENARIOS: Record<string, Scenario> = {
  'raw-chat': {
    usage: k6Usage('raw-chat'),
    summary: 'k6: many channels, every client publishes',
    run: (args, cleanup) => runK6('raw-chat', args, cleanup),
  },
  fanout: {
    usage: k6Usage('fanout'),
    summary: 'k6: one channel, one publisher, many subscribers',
    run: (args, cleanup) => runK6('fanout', args, cleanup),
  },
  cpu: {
    usage: CPU_USAGE,
    summary: 'CPU per delivery of a node, compared with bare uWS + ioredis and with ws + ioredis',
    run: runCpu,
  },
  idle: {
    usage: IDLE_USAGE,
    summary: 'memory and CPU of idle authenticated connections, beside a bare uWS server',
    run: runIdle,
  },
  connects: {
    usage: CONNECTS_USAGE,
    summary: 'authenticated connects of the Centrifuge protocol for a second of CPU time',
    run: runConnects,
  },
  channels: {
    usage: CHANNELS_USAGE,
    summary: 'what a node with very many channels does after Redis was restarted empty',
    run: runChannels,
  },
  presence: {
    usage: PRESENCE_USAGE,
    summary: 'what a channel with many clients costs Redis',
    run: runPresence,
  },
  relay: {
    usage: RELAY_USAGE,
    summary: 'CPU of Redis a publication, compared with one PUBLISH for each',
    run: runRelay,
  },
}

function printScenarios(): void {
  console.log('npm run load -- <scenario> [options]\n')
  for (const { usage, summary } of Object.values(SCENARIOS)) console.log(`  ${usage}\n      ${summary}`)
}

/** An unknown option, a missing value or the like, as Node's parseArgs reports it. */
function isUsageError(error: unknown): boolean {
  return error instanceof Error && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS')
}

async function main([name, ...args]: string[]): Promise<number> {
  const scenario = name === undefined ? undefined : SCENARIOS[name]
  if (scenario === undefined) {
    if (name !== undefined) console.error(`There is no scenario "${name}".\n`)
    printScenarios()
    return 1
  }
  const cleanup = new Cleanup()
  let isInterrupted = false
  for (const [signal, exitCode] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    process.once(signal, () => {
      isInterrupted = true
      void cleanup.run().finally(() => process.exit(exitCode))
    })
  }
  try {
    return await scenario.run(args, cleanup)
  } catch (error) {
    if (!isInterrupted) console.error(errorMessage(error))
    if (isUsageError(error)) console.error(`usage: npm run load -- ${scenario.usage}`)
    return 1
  } finally {
    await cleanup.run()
  }
}

process.exitCode = await main(process.argv.slice(2))
