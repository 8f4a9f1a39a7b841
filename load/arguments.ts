import type { Protocol } from './clients/requests.js'
import { SERVER_NAMES, type ServerName } from './servers.js'

/** Parses a whole number from 1 to `max`. Throws an error whose message is one line that names the option. */
export function wholeNumber(option: string, value: string, max: number): number {
  const number = Number(value)
  if (Number.isInteger(number) && number >= 1 && number <= max) return number
  throw new Error(`--${option}: ${value} is no whole number from 1 to ${max}`)
}

/** Parses `raw` or `centrifuge`. Throws an error whose message is one line with both. */
export function protocolName(value: string): Protocol {
  if (value === 'raw' || value === 'centrifuge') return value
  throw new Error(`--protocol: ${value} is neither raw nor centrifuge`)
}

/** Parses settings such as `FANFARE_PORT=8000` to an environment. Throws an error that names the first wrong one. */
export function fanfareSettings(values: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    values.map((value) => {
      const [, name, text] = /^(FANFARE_\w+)=(.*)$/s.exec(value) ?? []
      if (name === undefined || text === undefined) {
        throw new Error(`--setting: ${value} is not of the form FANFARE_BUSY_DELIVERY_DELAY=0`)
      }
      return [name, text]
    }),
  )
}

/** Parses names of servers such as `fanfare,uws`. Throws an error that names the first unknown one. */
export function serverNames(list: string): ServerName[] {
  return list.split(',').map((value) => {
    const name = SERVER_NAMES.find((known) => known === value)
    if (name === undefined) throw new Error(`--servers: ${value} is none of ${SERVER_NAMES.join(', ')}`)
    return name
  })
}
