/** What `npm run load` puts into the environment; `k6 run` with the same variables works too. */
export const urls = (__ENV['LOAD_URLS'] || 'ws://127.0.0.1:8000').split(',')
export const token = __ENV['LOAD_TOKEN'] || ''
export const isSmoke = Boolean(__ENV['LOAD_SMOKE'])

/** A size given by LOAD_<name>, else the one that fits the run. */
export function size(name: string, full: number, smoke: number): number {
  return Number(__ENV[`LOAD_${name}`] || (isSmoke ? smoke : full))
}

/** The node that the n-th connection goes to. */
export function urlOf(index: number): string {
  return urls[index % urls.length] ?? ''
}
