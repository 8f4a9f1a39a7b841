import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'

/**
 * CPU time that all threads of a process have used so far, user and system, in nanoseconds: the first field of each
 * thread's schedstat (Linux, Documentation/scheduler/sched-stats). /proc/<pid>/stat counts in ticks of 10 ms, too
 * coarse for a window of a few seconds at 20 publications a second.
 */
export function cpuTimeNs(pid: number): number {
  const tasks = `/proc/${pid}/task`
  let totalNs = 0
  for (const thread of readdirSync(tasks)) totalNs += threadCpuTimeNs(`${tasks}/${thread}/schedstat`)
  return totalNs
}

function threadCpuTimeNs(schedstat: string): number {
  try {
    return Number(readFileSync(schedstat, 'latin1').split(' ', 1)[0])
  } catch {
    // The thread ended since the folder was read.
    return 0
  }
}

/** Resident memory of a process in bytes (VmRSS). */
export function residentBytes(pid: number): number {
  const match = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))
  if (match === null) throw new Error(`no VmRSS of process ${pid}`)
  return Number(match[1]) * 1024
}

/** Throws an error of one line where /proc lacks what the measurements need. */
export function requireLinux(): void {
  try {
    cpuTimeNs(process.pid)
  } catch {
    throw new Error('This scenario reads CPU time and memory from /proc and runs on Linux only.')
  }
}

/** The core that each part of a benchmark runs on; undefined where there are too few to divide. */
export interface Cores {
  server: number | undefined
  subscribers: number | undefined
  /** The publisher and Redis, which use very little CPU time beside the other two. */
  others: number | undefined
}

/** Divides the cores that this process may use; all undefined with a single core or without `taskset`. */
export function shareCores(): Cores {
  const cores = allowedCores()
  if (cores.length < 2 || spawnSync('taskset', ['--version']).status !== 0) {
    return { server: undefined, subscribers: undefined, others: undefined }
  }
  return { server: cores[0], subscribers: cores[1], others: cores[2] ?? cores[1] }
}

/** Restricts every thread that the process has now, and those they start, to one core. */
export function pin(pid: number, core: number | undefined): void {
  if (core === undefined) return
  const result = spawnSync('taskset', ['--all-tasks', '--cpu-list', '--pid', String(core), String(pid)])
  if (result.status !== 0) throw new Error(`taskset: ${result.stderr.toString().trim()}`)
}

function allowedCores(): number[] {
  const list = /^Cpus_allowed_list:\s+(\S+)$/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1] ?? ''
  return list.split(',').flatMap((range) => {
    const [first = 0, last = first] = range.split('-').map(Number)
    return Array.from({ length: last - first + 1 }, (_, index) => first + index)
  })
}
