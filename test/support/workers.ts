import { readFileSync } from 'node:fs'

/** The process ids of a supervisor's workers. */
export function workersOf(supervisor: number): number[] {
  const children = readFileSync(`/proc/${supervisor}/task/${supervisor}/children`, 'utf8')
  return children.trim().split(' ').map(Number)
}
