import type { Fault, FaultContext } from '../fault.js'
import { chosen } from './choices.js'
import { watchSubscribing } from './subscribing-connections.js'

/** How often connections are killed in a run. */
const ROUNDS = 5
/** In which nodes notice that a connection is dead, and repair what they have missed. */
const NOTICE_MS = 8_000
const SILENT_MS = 10_000
const PARTITION_MS = 5_000
/** Each way of a slow link takes so long, at the least and at the most: 300 to 700 ms for a round trip. */
const MIN_DELAY_MS = 150
const MAX_DELAY_MS = 350
const SLOW_PUBLICATIONS = 60
const SLOW_TIMEOUT_MS = 30_000
const LARGE_BYTES = 20_000

/** What happens to the connections between nodes and a Redis that goes on, and to those of clients. */
export const CONNECTION_FAULTS: readonly Fault[] = [
  {
    name: 'pubsub-killed',
    summary: 'Redis closes the subscribing connections of all nodes, five times.',
    topologies: ['one', 'sentinel', 'cluster', 'several'],
    epochs: 'kept',
    history: 'kept',
    lastsMs: 3_000,
    bars: { hearSilenceMs: 5_000, isUnnoticed: true },
    inject: (context) => killed(context, 'pubsub'),
  },
  {
    name: 'commands-killed',
    summary: 'Redis closes the other connections of all nodes, five times.',
    topologies: ['one', 'cluster', 'several'],
    epochs: 'kept',
    history: 'kept',
    lastsMs: 3_000,
    bars: { hearSilenceMs: 5_000, isUnnoticed: true },
    inject: (context) => killed(context, 'normal'),
  },
  {
    name: 'output-buffer-kill',
    summary: 'A frozen node leaves more unread than `client-output-buffer-limit`, and Redis cuts it off.',
    topologies: ['one'],
    epochs: 'kept',
    history: 'kept',
    lastsMs: 8_000,
    bars: { hearSilenceMs: 30_000, isUnnoticed: true },
    redisArgs: ['--client-output-buffer-limit', 'pubsub 1mb 512kb 1'],
    inject: async ({ nodes, random, redis, pad, until }) => {
      const isCutOff = await watchSubscribing(redis)
      const node = chosen(nodes, random)
      node.freeze()
      pad(LARGE_BYTES)
      await until(isCutOff, 'Redis has cut the node off')
      pad(0)
      node.resume()
    },
  },
  {
    name: 'half-open',
    summary:
      'What one node and Redis send each other is lost without an end of the connections; new ones work.',
    topologies: ['one'],
    epochs: 'kept',
    history: 'kept',
    lastsMs: NOTICE_MS,
    // Noticed within 5 s, and repaired.
    bars: { hearSilenceMs: NOTICE_MS, isUnnoticed: true },
    proxied: 'first',
    inject: async ({ redis, last }) => {
      redis.proxy.deaden({ andNew: false })
      await last(NOTICE_MS)
    },
  },
  {
    name: 'half-open-all',
    summary: 'The same happens to all nodes.',
    topologies: ['one'],
    epochs: 'kept',
    history: 'kept',
    lastsMs: NOTICE_MS,
    bars: { publishSilenceMs: NOTICE_MS, hearSilenceMs: NOTICE_MS, answerMs: 3_500, isUnnoticed: true },
    proxied: 'all',
    inject: async ({ redis, last }) => {
      redis.proxy.deaden({ andNew: false })
      await last(NOTICE_MS)
    },
  },
  {
    name: 'silent-proxy',
    summary: 'For 10 s a proxy accepts connections to Redis and passes nothing on, and never ends these.',
    topologies: ['one'],
    epochs: 'kept',
    history: 'kept',
    lastsMs: SILENT_MS,
    bars: {
      publishSilenceMs: SILENT_MS + 6_000,
      hearSilenceMs: SILENT_MS + 8_000,
      answerMs: 3_500,
      ready: ['degraded'],
    },
    proxied: 'all',
    inject: async ({ redis, last }) => {
      redis.proxy.deaden({ andNew: true })
      await last(SILENT_MS)
      redis.proxy.heal()
    },
  },
  {
    name: 'partition',
    summary: 'The connections of all nodes to Redis are cut, and new ones are refused for 5 s.',
    topologies: ['one'],
    epochs: 'kept',
    history: 'kept',
    lastsMs: PARTITION_MS,
    bars: {
      publishSilenceMs: PARTITION_MS + 6_000,
      hearSilenceMs: PARTITION_MS + 8_000,
      answerMs: 3_500,
      ready: ['degraded', 'redis_unreachable'],
      isUnnoticed: true,
    },
    proxied: 'all',
    inject: async ({ redis, last }) => {
      redis.proxy.isRefusing = true
      redis.proxy.cut()
      await last(PARTITION_MS)
      redis.proxy.heal()
    },
  },
  {
    name: 'slow-link',
    summary: 'Redis is 300 to 700 ms away, and the connections to it break once.',
    topologies: ['one'],
    epochs: 'kept',
    history: 'kept',
    lastsMs: 12_000,
    bars: { hearSilenceMs: 15_000, answerMs: 3_500 },
    proxied: 'all',
    inject: async ({ redis, random, acknowledged }) => {
      const { proxy } = redis
      proxy.delayMs = MIN_DELAY_MS + random() * (MAX_DELAY_MS - MIN_DELAY_MS)
      await acknowledged(SLOW_PUBLICATIONS, SLOW_TIMEOUT_MS)
      proxy.cut()
      await acknowledged(SLOW_PUBLICATIONS, SLOW_TIMEOUT_MS)
      proxy.delayMs = 0
    },
  },
  {
    name: 'slow-consumer',
    summary: 'An SDK client and a raw client stop reading, and are closed for what they leave unread.',
    topologies: ['one'],
    epochs: 'kept',
    history: 'kept',
    isRecoveryBounded: true,
    lastsMs: 8_000,
    bars: { publishSilenceMs: 3_000 },
    settings: { FANFARE_QUEUE_BYTES: '2MiB', FANFARE_RAW_QUEUE_BYTES: '2MiB' },
    inject: async ({ nodes, steady, raw, pad, until, fail }) => {
      const [slow, ...others] = steady
      const [slowRaw] = raw
      slow?.pause()
      slowRaw?.pause()
      pad(LARGE_BYTES)
      await until(async () => {
        const expositions = await Promise.all(nodes.map((node) => node.metrics()))
        const closed = (protocol: string) =>
          expositions.some((one) =>
            new RegExp(`^fanfare_slow_consumer_closes_total\\{protocol="${protocol}"\\} [1-9]`, 'm').test(
              one,
            ),
          )
        return closed('centrifuge') && closed('raw')
      }, 'both slow clients were closed')
      pad(0)
      slow?.resume()
      slowRaw?.resume()
      for (const { name, lost } of others) if (lost.length > 0) fail(`${name} lost its connection, too`)
    },
  },
]

async function killed({ redis, attempted, shape }: FaultContext, type: 'pubsub' | 'normal'): Promise<void> {
  for (let round = 0; round < ROUNDS; round++) {
    await attempted(Math.ceil(shape.before / 3))
    for (const index of redis.servers.keys()) {
      await redis.admin(index).call('CLIENT', 'KILL', 'TYPE', type, 'SKIPME', 'yes')
    }
  }
}
