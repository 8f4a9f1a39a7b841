import { CONNECTION_FAULTS } from './catalogue/connection-faults.js'
import type { Fault } from './fault.js'

/** Every fault, in the order in which they are run and documented. */
export const FAULTS: readonly Fault[] = [...CONNECTION_FAULTS]

/** The fault of this name. Throws an error that lists the known ones. */
export function faultNamed(name: string): Fault {
  const fault = FAULTS.find((one) => one.name === name)
  if (fault === undefined) {
    throw new Error(`there is no fault "${name}"; there are ${FAULTS.map((one) => one.name).join(', ')}`)
  }
  return fault
}
