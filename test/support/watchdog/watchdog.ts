import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import type { WorkerState } from './running-tests.js'

declare module 'vitest' {
  interface ProvidedContext {
    /** The directory that worker processes write their activities to. */
    watchdogDirectory: string
  }
}

const CHECK_INTERVAL_MS = 500
/** Times the longer timeout of vitest, which vitest itself cannot enforce when a test blocks the event loop. */
const LIMIT_FACTOR = 1.25

/**
 * For `globalSetup`, which runs in a process of its own: prints the test that runs for longer than vitest should have let
 * it, with its file, and kills its process, so that the run continues and fails.
 */
export default function setup(project: TestProject): () => void {
  const directory = mkdtempSync(join(tmpdir(), 'fanfare-watchdog-'))
  const { testTimeout, hookTimeout } = project.config
  const limitMs = LIMIT_FACTOR * Math.max(testTimeout, hookTimeout)
  project.provide('watchdogDirectory', directory)
  const timer = setInterval(() => endOverdue(directory, limitMs), CHECK_INTERVAL_MS)
  return () => {
    clearInterval(timer)
    rmSync(directory, { recursive: true, force: true })
  }
}

function endOverdue(directory: string, limitMs: number): void {
  for (const name of readdirSync(directory).filter((one) => one.endsWith('.json'))) {
    const state = readState(join(directory, name))
    if (state === undefined) continue
    const { pid, file, running } = state
    const overdue = running.filter(({ sinceMs }) => Date.now() - sinceMs > limitMs)
    if (overdue.length === 0) continue
    rmSync(join(directory, name), { force: true })
    const processes = runningProcesses()
    // A process that was killed leaves its file behind.
    if (processes.get(pid) !== process.pid) continue
    for (const { what } of overdue) {
      console.error(`\nWATCHDOG: ${file} ${what} for more than ${limitMs / 1_000} s; its process is killed.`)
    }
    killTree(pid, processes)
  }
}

/** Undefined where the worker has finished since its file was listed: it removes the file then. */
function readState(path: string): WorkerState | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as WorkerState
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** The parent of each process. */
function runningProcesses(): ReadonlyMap<number, number> {
  const table = execFileSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8' })
  return new Map(
    table
      .trim()
      .split('\n')
      .map((line) => line.trim().split(/\s+/).map(Number))
      .map(([pid = 0, parent = 0]) => [pid, parent]),
  )
}

/** Kills a process after its children, so that the servers that it started do not stay. */
function killTree(pid: number, processes: ReadonlyMap<number, number>): void {
  for (const [child, parent] of processes) if (parent === pid) killTree(child, processes)
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    // The process has ended meanwhile.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}
