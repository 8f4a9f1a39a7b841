import { PATIENCE } from './patience.js'

/** A sample's value in a Prometheus exposition; 0 where there is none. Labels as exported: `{protocol="raw"}`. */
export function metric(exposition: string, name: string, labels = ''): number {
  const prefix = `${name}${labels} `
  const line = exposition.split('\n').find((one) => one.startsWith(prefix))
  return line === undefined ? 0 : Number(line.slice(prefix.length))
}

/** Asks again and again until what is asked for is so: for what no event tells, such as a gauge. */
export async function eventually(condition: () => Promise<boolean>, what: string): Promise<void> {
  const giveUpAt = performance.now() + PATIENCE.timeout
  while (!(await condition())) {
    if (performance.now() > giveUpAt) throw new Error(`never came true: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
