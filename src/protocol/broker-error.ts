/**
 * `unavailable`: the relay cannot be reached, or refused. `timeout`: it did not answer, so the effect is unknown.
 * `overloaded`: too much waits for it already.
 */
export type BrokerFailure = 'unavailable' | 'timeout' | 'overloaded'

/** The relay between nodes did not do what was asked. The message is one line for the publisher or subscriber. */
export class BrokerError extends Error {
  override readonly name = 'BrokerError'

  constructor(
    readonly reason: BrokerFailure,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options)
  }
}
