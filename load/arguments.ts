import type { Protocol } from './clients/requests.js'
import { SERVER_NAMES, type ServerName } from './servers.js'

/** A whole number from 1 to `max`; throws one line that names the option otherwise. */
export function wholeNumber(option: string, value: string, max: number): number {
  const number = Number(value)
  if (Number.isInteger(number) && number >= 1 && number <= max) return number
  throw new Error(`--${option}: ${value} is no whole number from 1 to ${max}`)
}

/** `raw` or `centrifuge`; throws one line that says so otherwise. */
export function protocolName(value: string): Protocol {
  if (value === 'raw' || value === 'centrifuge') return value
  throw new Error(`--protocol: ${value} is neither raw nor centrifuge`)
}

/** `fanfare,uws` as names of servers; throws one line that names an unknown one. */
export function serverNames(list: string): ServerName[] {
  return list.split(',').map((value) => {
    const name = SERVER_NAMES.find((known) => known === value)
    if (name === undefined) throw new Error(`--servers: ${value} is none of ${SERVER_NAMES.join(', ')}`)
    return name
  })
}
