import type { HubOptions } from '../../src/hub/hub.js'
import type { ChannelRules } from '../../src/hub/local-channel.js'

type HubDefaults = Pick<HubOptions, 'rulesOf' | 'busyDeliveryDelayMs' | 'onDefect'>

/** Options of a hub whose channels have no stream and no delivery delay unless given. Defects are thrown. */
export function hubOptions(
  rules: Partial<ChannelRules> = {},
  options: Partial<HubDefaults> = {},
): HubDefaults {
  return {
    rulesOf: () => ({ namespace: '', metaTtlMs: undefined, deliveryDelayMs: 0, ...rules }),
    busyDeliveryDelayMs: 0,
    onDefect: (error) => {
      throw error
    },
    ...options,
  }
}
