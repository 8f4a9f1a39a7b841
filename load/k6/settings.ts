/** The environment that `npm run load` gives to k6; `k6 run` with the same variables works too. */
export const urls = (__ENV['LOAD_URLS'] || 'ws://127.0.0.1:8000').split(',')
export const token = __ENV['LOAD_TOKEN'] || ''
export const isSmoke = Boolean(__ENV['LOAD_SMOKE'])

/** Returns the size of LOAD_<name>; unless it is set, the default of a full or a smoke run. */
export function size(name: string, full: number, smoke: number): number {
  return Number(__ENV[`LOAD_${name}`] || (isSmoke ? smoke : full))
}

/** The URL of the node for the n-th connection. */
export function urlOf(index: number): string {
  return urls[index % urls.length] ?? ''
}
