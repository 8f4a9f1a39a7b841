import { POLL_OPTIONS } from './poll-options.js'

/** The value of a sample in a Prometheus exposition; 0 without such a sample. Labels as exported: `{protocol="raw"}`. */
export function metric(exposition: string, name: string, labels = ''): number {
  const prefix = `${name}${labels} `
  const line = exposition.split('\n').find((one) => one.startsWith(prefix))
  return line === undefined ? 0 : Number(line.slice(prefix.length))
}

/** Polls a condition that no event reports, such as the value of a gauge. Rejects after the timeout of a poll. */
export async function eventually(condition: () => Promise<boolean>, what: string): Promise<void> {
  const giveUpAt = performance.now() + POLL_OPTIONS.timeout
  while (!(await condition())) {
    if (performance.now() > giveUpAt) throw new Error(`never came true: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
