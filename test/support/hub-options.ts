import type { HubOptions } from '../../src/hub/hub.js'
import type { ChannelRules } from '../../src/hub/local-channel.js'

/** Of a hub whose channels keep no stream and in which nothing waits, but for what is said. Defects are thrown. */
export function hubOptions(rules: Partial<ChannelRules> = {}, options: Partial<HubOptions> = {}): HubOptions {
  return {
    rulesOf: () => ({ namespace: '', metaTtlMs: undefined, deliveryDelayMs: 0, ...rules }),
    busyDeliveryDelayMs: 0,
    onDefect: (error) => {
      throw error
    },
    ...options,
  }
}
