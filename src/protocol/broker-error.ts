/**
 * `unavailable`: the relay cannot be reached, or it refused. `timeout`: it did not answer, so the effect is unknown.
 * `overloaded`: too many bytes wait for it already.
 */
export type BrokerFailure = 'unavailable' | 'timeout' | 'overloaded'

/** The relay between nodes failed a request. The message is one line for the publisher or subscriber. */
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
