import { CONNECTION_FAULTS } from './catalogue/connection-faults.js'
import { FAILOVER_FAULTS } from './catalogue/failover-faults.js'
import { NODE_FAULTS } from './catalogue/node-faults.js'
import { REDIS_FAULTS } from './catalogue/redis-faults.js'
import { SHARDING_FAULTS } from './catalogue/sharding-faults.js'
import type { Fault } from './fault.js'

/** No fault at all: a cluster in which only the checker is disturbed (`--sabotage`). */
export const CALM: Fault = {
  name: 'calm',
  summary: 'Nothing happens but that clients come and go.',
  topologies: ['one', 'replica', 'sentinel', 'cluster', 'several'],
  epochs: 'kept',
  history: 'kept',
  lastsMs: 0,
  bars: { isUnnoticed: true },
  shape: { before: 100, publications: 600 },
  inject: () => Promise.resolve(),
}

/** Every fault, in the order in which they are run and documented. */
export const FAULTS: readonly Fault[] = [
  CALM,
  ...NODE_FAULTS,
  ...REDIS_FAULTS,
  ...FAILOVER_FAULTS,
  ...CONNECTION_FAULTS,
  ...SHARDING_FAULTS,
]

/** The fault of this name. Throws an error that lists the known ones. */
export function faultNamed(name: string): Fault {
  const fault = FAULTS.find((one) => one.name === name)
  if (fault === undefined) {
    throw new Error(`there is no fault "${name}"; there are ${FAULTS.map((one) => one.name).join(', ')}`)
  }
  return fault
}
