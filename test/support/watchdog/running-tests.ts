import { renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** A test that runs, or another activity of a process for its test file. */
export interface Running {
  readonly what: string
  /** Unix time in milliseconds. */
  readonly sinceMs: number
}

/** The activities of a worker process, as the watchdog reads them. */
export interface WorkerState {
  readonly pid: number
  readonly file: string
  readonly running: readonly Running[]
}

/**
 * Writes the activities of this worker process to a file before they run: the file can still be read when a test blocks
 * the event loop or ends the process, unlike messages that wait to be sent.
 */
export class RunningTests {
  private file = ''
  private readonly tests = new Map<string, Running>()
  private readonly path: string

  constructor(directory: string) {
    this.path = join(directory, `${process.pid}.json`)
  }

  collects(file: string): void {
    this.file = file
    this.write('loads its tests')
  }

  starts(id: string, what: string): void {
    this.tests.set(id, { what, sinceMs: Date.now() })
    this.write('')
  }

  ends(id: string): void {
    this.tests.delete(id)
    this.write('is between two tests, or in the hooks of a suite')
  }

  /** After this, vitest itself makes sure that the process ends. */
  finish(): void {
    rmSync(this.path, { force: true })
  }

  /** `otherwise`: what the process does while no test runs. */
  write(otherwise: string): void {
    const tests = [...this.tests.values()]
    const running = tests.length > 0 ? tests : [{ what: otherwise, sinceMs: Date.now() }]
    const state: WorkerState = { pid: process.pid, file: this.file, running }
    // Atomic, so that the watchdog never reads half of it.
    writeFileSync(`${this.path}.new`, JSON.stringify(state))
    renameSync(`${this.path}.new`, this.path)
  }
}
