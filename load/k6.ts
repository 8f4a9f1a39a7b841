import { spawn, spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { endWithThisProcess } from '../deploy/local/process-guard.js'

/** `k6/websockets` is part of k6, and stable, since this version. */
const OLDEST = { major: 1, minor: 6 }

/** Built when there is no k6. */
const MODULE = 'go.k6.io/k6@v1.8.1'

/** Not under version control, and removed with node_modules. */
const BUILD_DIRECTORY = fileURLToPath(new URL('../../node_modules/.cache/fanfare-load', import.meta.url))

const HOW_TO_GET_IT = `Not found: k6 ${OLDEST.major}.${OLDEST.minor} or later. Either
  - install it: https://grafana.com/docs/k6/latest/set-up/install-k6/
  - or name the program: K6_BIN=/path/to/k6 npm run load -- ...
  - or install Go (https://go.dev/dl/) and run this again: it builds ${MODULE}.`

/**
 * Resolves with the k6 to run: K6_BIN, else the PATH's, else one that was built before, else one that it builds with Go.
 * Rejects with an error that explains how to get one.
 */
export async function findK6(): Promise<string> {
  const named = process.env['K6_BIN']
  if (named !== undefined && named !== '') {
    const problem = problemWith(named)
    if (problem !== undefined) throw new Error(`K6_BIN: ${named} ${problem}`)
    return named
  }
  const built = join(BUILD_DIRECTORY, 'k6')
  const usable = ['k6', built].find((command) => problemWith(command) === undefined)
  if (usable !== undefined) return usable
  if (spawnSync('go', ['version']).status !== 0) throw new Error(HOW_TO_GET_IT)
  await build()
  const problem = problemWith(built)
  if (problem !== undefined) throw new Error(`The k6 that was built ${problem}.\n${HOW_TO_GET_IT}`)
  return built
}

/** Returns why a command is no k6 that can run the scenarios; undefined when it is one. */
function problemWith(command: string): string | undefined {
  const result = spawnSync(command, ['version'], { encoding: 'utf8' })
  if (result.status !== 0) return 'does not run'
  const version = /k6 v(\d+)\.(\d+)\.\d+/.exec(result.stdout)
  if (version === null) return 'is no k6'
  const [major, minor] = [Number(version[1]), Number(version[2])]
  const isTooOld = major < OLDEST.major || (major === OLDEST.major && minor < OLDEST.minor)
  return isTooOld ? `is k6 ${major}.${minor}, older than ${OLDEST.major}.${OLDEST.minor}` : undefined
}

function build(): Promise<void> {
  console.log(
    `k6 was not found. Building ${MODULE} with Go, once; this takes a few minutes. Packages so far:`,
  )
  return new Promise((resolve, reject) => {
    const go = spawn('go', ['install', '-v', MODULE], {
      env: { ...process.env, GOBIN: BUILD_DIRECTORY },
      stdio: ['ignore', 'inherit', 'inherit'],
    })
    endWithThisProcess(go)
    go.once('error', reject)
    go.once('exit', (code) => {
      if (code === 0) resolve()
      else reject(new Error(`Go could not build ${MODULE}.\n${HOW_TO_GET_IT}`))
    })
  })
}
