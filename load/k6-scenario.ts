import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { endWithThisProcess } from '../deploy/local/process-guard.js'
import { wholeNumber } from './arguments.js'
import type { Cleanup } from './cleanup.js'
import { type Cluster, startCluster } from './cluster.js'
import { findK6 } from './k6.js'

const MAX_SECONDS = 3600
const MAX_COUNT = 100_000
/** What k6 exits with when a signal ended it: https://github.com/grafana/k6/blob/master/errext/exitcodes/codes.go. */
const EXIT_ABORTED = 105

/** The sizes that each k6 scenario has options for; its script has the defaults. */
const SIZES = {
  'raw-chat': ['channels', 'clients', 'rate', 'seconds'],
  fanout: ['subscribers', 'rate', 'seconds'],
} as const

export type K6Scenario = keyof typeof SIZES

export function k6Usage(scenario: K6Scenario): string {
  const sizes = SIZES[scenario].map((size) => `[--${size} n]`).join(' ')
  return `${scenario} [--smoke] [--url ws://…[,ws://…]] [--token t] ${sizes}`
}

/** Runs a script of k6/ against a cluster given by --url or one of its own; returns the exit code. */
export async function runK6(scenario: K6Scenario, args: string[], cleanup: Cleanup): Promise<number> {
  const sizes = SIZES[scenario]
  const options: Record<string, { type: 'boolean' | 'string' }> = {
    smoke: { type: 'boolean' },
    url: { type: 'string' },
    token: { type: 'string' },
  }
  for (const size of sizes) options[size] = { type: 'string' }
  const { values } = parseArgs({ args, options })
  const environment: Record<string, string> = { LOAD_SMOKE: values['smoke'] === true ? '1' : '' }
  for (const size of sizes) {
    const value = values[size]
    if (typeof value !== 'string') continue
    const max = size === 'seconds' ? MAX_SECONDS : MAX_COUNT
    environment[`LOAD_${size.toUpperCase()}`] = String(wholeNumber(size, value, max))
  }

  const k6 = await findK6()
  const { urls, token } = await findCluster(values, cleanup)
  environment['LOAD_URLS'] = urls.join(',')
  environment['LOAD_TOKEN'] = token
  const exitCode = await run(k6, scenario, environment, cleanup)
  const isInterrupted = cleanup.hasBegun || exitCode === EXIT_ABORTED
  console.log(`\n${scenario}: ${isInterrupted ? 'interrupted' : exitCode === 0 ? 'pass' : 'FAIL'}`)
  return exitCode === 0 ? 0 : 1
}

function findCluster(
  { url, token }: { url?: unknown; token?: unknown },
  cleanup: Cleanup,
): Cluster | Promise<Cluster> {
  if (typeof url !== 'string') return startCluster(cleanup)
  const urls = url.split(',').map((one) => one.replace(/\/+$/, ''))
  const bad = urls.find((one) => !/^wss?:$/.test(URL.canParse(one) ? new URL(one).protocol : ''))
  if (bad !== undefined) throw new Error(`--url: ${bad} is no WebSocket address such as ws://127.0.0.1:8000`)
  return { urls, token: typeof token === 'string' ? token : '' }
}

/** Resolves with k6's exit code; its progress and summary go to the terminal. */
function run(
  k6: string,
  scenario: K6Scenario,
  environment: Record<string, string>,
  cleanup: Cleanup,
): Promise<number> {
  const script = fileURLToPath(new URL(`./k6/${scenario}.js`, import.meta.url))
  return new Promise((resolve, reject) => {
    const child = spawn(k6, ['run', '--no-usage-report', script], {
      env: { ...process.env, ...environment },
      stdio: ['ignore', 'inherit', 'inherit'],
    })
    endWithThisProcess(child)
    const ended = new Promise<void>((end) => child.once('close', () => end()))
    cleanup.defer(() => {
      child.kill('SIGKILL')
      return child.pid === undefined ? Promise.resolve() : ended
    })
    child.once('error', reject)
    child.once('close', (code) => resolve(code ?? 1))
  })
}
