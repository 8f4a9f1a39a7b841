import { readFileSync } from 'node:fs'

/** The process ids of the workers of a supervisor. */
export function workersOf(supervisor: number): number[] {
  const children = readFileSync(`/proc/${supervisor}/task/${supervisor}/children`, 'utf8')
  return children.trim().split(' ').map(Number)
}
