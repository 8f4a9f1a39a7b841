import { RelayError } from '../redis/relay-publisher.js'
import { BrokerError } from './broker.js'

/** For a `catch`: what the relay says, as the ports say it. */
export function toBrokerError(error: unknown): never {
  if (error instanceof RelayError) throw new BrokerError(error.reason, error.message)
  throw error
}
