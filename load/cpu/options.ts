import { parseArgs } from 'node:util'
import { fanfareSettings, protocolName, serverNames, wholeNumber } from '../arguments.js'
import type { Protocol } from '../clients/requests.js'
import { SERVER_NAMES, type ServerName } from '../servers.js'

export interface CpuOptions {
  subscribers: number
  ratesPerSecond: number[]
  pairs: number
  /** Length of a measured round. */
  seconds: number
  servers: ServerName[]
  /** What Fanfare's clients speak. */
  protocol: Protocol
  /** Of Fanfare's node, as its environment. */
  settings: Record<string, string>
  /** A short run that checks deliveries; it has too few rounds for ratios. */
  isSmoke: boolean
}

const FULL = { subscribers: '1000', rates: '20,100,1000', pairs: '10', seconds: '5' }
const SMOKE = { subscribers: '200', rates: '20,200', pairs: '1', seconds: '1' }

/** The comparison with `ws` is made with raw frames. */
const SERVERS: Readonly<Record<Protocol, string>> = {
  raw: SERVER_NAMES.join(','),
  centrifuge: 'fanfare,uws',
}

/** Sockets of one process of subscribers, below the usual limit of 20,000 descriptors. */
const MAX_SUBSCRIBERS = 15_000

export const CPU_USAGE =
  'cpu [--subscribers 1000] [--rates 20,100,1000] [--pairs 10] [--seconds 5] [--servers fanfare,uws,ws] [--protocol raw] [--setting FANFARE_…=…]… [--smoke]'

/** Throws an error whose message is one line that names the wrong option. */
export function parseCpuOptions(args: string[]): CpuOptions {
  const { values } = parseArgs({
    args,
    options: {
      subscribers: { type: 'string' },
      rates: { type: 'string' },
      pairs: { type: 'string' },
      seconds: { type: 'string' },
      servers: { type: 'string' },
      protocol: { type: 'string', default: 'raw' },
      setting: { type: 'string', multiple: true, default: [] },
      smoke: { type: 'boolean', default: false },
    },
  })
  const defaults = values.smoke ? SMOKE : FULL
  const protocol = protocolName(values.protocol)
  const rates = values.rates ?? defaults.rates
  return {
    subscribers: wholeNumber('subscribers', values.subscribers ?? defaults.subscribers, MAX_SUBSCRIBERS),
    ratesPerSecond: rates.split(',').map((rate) => wholeNumber('rates', rate, 10_000)),
    pairs: wholeNumber('pairs', values.pairs ?? defaults.pairs, 1000),
    seconds: wholeNumber('seconds', values.seconds ?? defaults.seconds, 60),
    servers: serverNames(values.servers ?? SERVERS[protocol]),
    protocol,
    settings: fanfareSettings(values.setting),
    isSmoke: values.smoke,
  }
}
