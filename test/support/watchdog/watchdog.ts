import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import type { WorkerState } from './running-tests.js'

declare module 'vitest' {
  interface ProvidedContext {
    /** Where worker processes write what they run. */
    watchdogDirectory: string
  }
}

const LOOK_INTERVAL_MS = 500
/** Of the longest limit that vitest keeps itself, which it can't where a test blocks the event loop. */
const LIMIT_FACTOR = 1.25

/**
 * For `globalSetup`, which runs in a process of its own: names the test that runs for longer than vitest should have let it, with its file, and kills its
 * process, so that the run goes on and fails.
 */
export default function setup(project: TestProject): () => void {
  const directory = mkdtempSync(join(tmpdir(), 'fanfare-watchdog-'))
  const { testTimeout, hookTimeout } = project.config
  const limitMs = LIMIT_FACTOR * Math.max(testTimeout, hookTimeout)
  project.provide('watchdogDirectory', directory)
  const timer = setInterval(() => endOverdue(directory, limitMs), LOOK_INTERVAL_MS)
  return () => {
    clearInterval(timer)
    rmSync(directory, { recursive: true, force: true })
  }
}

function endOverdue(directory: string, limitMs: number): void {
  for (const name of readdirSync(directory).filter((one) => one.endsWith('.json'))) {
    const { pid, file, running } = JSON.parse(readFileSync(join(directory, name), 'utf8')) as WorkerState
    const overdue = running.filter(({ sinceMs }) => Date.now() - sinceMs > limitMs)
    if (overdue.length === 0) continue
    rmSync(join(directory, name))
    const processes = runningProcesses()
    // One that was killed has left its file behind.
    if (processes.get(pid) !== process.pid) continue
    for (const { what } of overdue) {
      console.error(`\nWATCHDOG: ${file} ${what} for more than ${limitMs / 1_000} s; its process is killed.`)
    }
    killTree(pid, processes)
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

/** Its children first: servers that it has started would stay. */
function killTree(pid: number, processes: ReadonlyMap<number, number>): void {
  for (const [child, parent] of processes) if (parent === pid) killTree(child, processes)
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    // It has ended meanwhile.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}
