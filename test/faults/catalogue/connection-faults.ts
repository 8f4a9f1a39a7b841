import type { Fault, FaultContext } from '../fault.js'

/** How often connections are killed in a run. */
const ROUNDS = 5
const BETWEEN_ROUNDS = 100

/** What happens to the connections between nodes and a Redis that goes on. */
export const CONNECTION_FAULTS: readonly Fault[] = [
  {
    name: 'calm',
    summary: 'Nothing happens but that clients come and go: what `--sabotage` runs.',
    topologies: ['one'],
    epochs: 'kept',
    history: 'kept',
    lastsMs: 0,
    bars: { isUnnoticed: true },
    inject: () => Promise.resolve(),
  },
  {
    name: 'pubsub-killed',
    summary: 'Redis closes the subscribing connections of all nodes, several times.',
    topologies: ['one', 'sentinel', 'cluster', 'several'],
    epochs: 'kept',
    history: 'kept',
    lastsMs: 3_000,
    bars: { hearSilenceMs: 5_000, isUnnoticed: true },
    inject: (context) => killed(context, 'pubsub'),
  },
]

async function killed({ redis, attempted }: FaultContext, type: 'pubsub' | 'normal'): Promise<void> {
  for (let round = 0; round < ROUNDS; round++) {
    await attempted(BETWEEN_ROUNDS)
    for (const index of redis.servers.keys()) {
      await redis.admin(index).call('CLIENT', 'KILL', 'TYPE', type, 'SKIPME', 'yes')
    }
  }
}
