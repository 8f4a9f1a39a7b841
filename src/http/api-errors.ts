import type { Logger } from '../log.js'
import { BrokerError } from '../protocol/broker-error.js'
import { errors, ProtocolError } from '../protocol/errors.js'

/** What a caller is told of what was thrown. What is nobody's business but ours is logged. */
export function toProtocolError(thrown: unknown, log: Logger): ProtocolError {
  if (thrown instanceof ProtocolError) return thrown
  if (thrown instanceof BrokerError) return errors.internal(thrown.message, thrown.reason !== 'timeout')
  // JSON of an absurd depth can be parsed but not written again.
  if (thrown instanceof RangeError) return errors.badRequest('the data is nested too deeply')
  log.error({ err: thrown }, 'the server API failed')
  return errors.internal('see the log of the node')
}

/** An error as the API answers it. */
export function failure({ code, message, temporary }: ProtocolError) {
  return { error: { code, message, ...(temporary && { temporary }) } }
}
