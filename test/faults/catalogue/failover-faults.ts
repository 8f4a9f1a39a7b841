import { setTimeout as sleep } from 'node:timers/promises'
import { DOWN_AFTER_MS } from '../../contract/redis-topologies.js'
import type { Fault, FaultContext } from '../fault.js'

/** From a master's death until publishing goes on: `down-after`, the election, and as much again on a busy machine. */
const FAILOVER_BAR_MS = DOWN_AFTER_MS + 8_000
/** How long an address leads to a former master. */
const MISLED_MS = 2_500
const POLL_MS = 50

/** What happens when another Redis becomes the master. */
export const FAILOVER_FAULTS: readonly Fault[] = [
  {
    name: 'sentinel-failover',
    summary: 'The master is killed, and Sentinel promotes a replica.',
    topologies: ['sentinel'],
    epochs: 'ended',
    history: 'lost',
    lastsMs: 6_000,
    bars: { publishSilenceMs: FAILOVER_BAR_MS, hearSilenceMs: FAILOVER_BAR_MS + 5_000 },
    inject: async (context) => {
      await context.redis.server(0).stop()
      await acknowledgedByAnother(context)
    },
  },
  {
    name: 'lossy-failover',
    summary:
      'Replication stops, the master acknowledges more and is killed, and Sentinel promotes a replica.',
    topologies: ['sentinel'],
    epochs: 'ended',
    history: 'lost',
    lastsMs: 8_000,
    bars: { publishSilenceMs: FAILOVER_BAR_MS, hearSilenceMs: FAILOVER_BAR_MS + 5_000 },
    inject: async (context) => {
      const { redis, acknowledged, shape } = context
      const replicas = [...redis.servers.keys()].slice(1)
      for (const index of replicas) {
        // A master without a password refuses one, so that the replica stays without its link.
        await redis.admin(index).config('SET', 'masterauth', 'wrong')
        await redis.admin(index).call('CLIENT', 'KILL', 'TYPE', 'master')
      }
      await acknowledged(shape.before / 2)
      await requireBehind(context, replicas)
      await redis.server(0).stop()
      for (const index of replicas) await redis.admin(index).config('SET', 'masterauth', '')
      await acknowledgedByAnother(context)
    },
  },
  {
    name: 'planned-failover',
    summary: 'FAILOVER promotes the replica, and the proxy, which cuts nobody, leads there 2.5 s later.',
    topologies: ['replica'],
    epochs: 'ended',
    history: 'kept',
    lastsMs: MISLED_MS + 3_000,
    bars: {
      publishSilenceMs: MISLED_MS + 5_000,
      hearSilenceMs: MISLED_MS + 10_000,
      ready: ['redis_replica'],
    },
    inject: async ({ redis, last }) => {
      await redis.admin(0).call('FAILOVER')
      await roleOf(redis, 1, 'master')
      await last(MISLED_MS)
      redis.proxy.leadTo(redis.server(1).port)
    },
  },
  {
    name: 'promoted-again',
    summary:
      'A master loses writes as the replica of another and is promoted again, while connections to it stay.',
    topologies: ['replica'],
    epochs: 'ended',
    history: 'lost',
    lastsMs: 4_000,
    bars: { publishSilenceMs: 8_000, hearSilenceMs: 12_000 },
    inject: async (context) => {
      const { redis, acknowledged, shape } = context
      const [first, second] = [redis.admin(0), redis.admin(1)]
      await second.replicaof('NO', 'ONE')
      // The other does not get these.
      await acknowledged(shape.before / 2)
      await requireBehind(context, [1])
      await first.replicaof('127.0.0.1', redis.server(1).port)
      while (!(await first.info('replication')).includes('master_link_status:up')) await sleep(POLL_MS)
      await first.replicaof('NO', 'ONE')
      await second.replicaof('127.0.0.1', redis.server(0).port)
    },
  },
  {
    name: 'replica-leaves',
    summary: 'The last replica leaves, after which the master changes its replication id and loses nothing.',
    topologies: ['replica'],
    epochs: 'kept',
    history: 'kept',
    lastsMs: 3_000,
    bars: { isUnnoticed: true, publishSilenceMs: 3_000 },
    redisArgs: ['--repl-backlog-ttl', '1'],
    inject: async ({ redis, until, acknowledged, shape }) => {
      const replicationId = async () =>
        /^master_replid:(\w+)/m.exec(await redis.admin(0).info('replication'))?.[1]
      const before = await replicationId()
      await redis.server(1).stop()
      await until(async () => (await replicationId()) !== before, 'the master has a new replication id')
      await acknowledged(shape.before)
    },
  },
]

/** Goes on under another master, and then lets the former one come back as its replica. */
async function acknowledgedByAnother({ redis, acknowledged, shape }: FaultContext): Promise<void> {
  await acknowledged(shape.before)
  await redis.server(0).startAgain()
}

/** A failover that loses nothing would prove nothing. */
async function requireBehind({ redis, fail }: FaultContext, replicas: readonly number[]): Promise<void> {
  const offsetOf = async (index: number) =>
    Number(/^master_repl_offset:(\d+)/m.exec(await redis.admin(index).info('replication'))?.[1])
  const written = await offsetOf(0)
  for (const index of replicas) {
    if ((await offsetOf(index)) >= written) fail(`server ${index} has all that the master has acknowledged`)
  }
}

async function roleOf(redis: FaultContext['redis'], index: number, role: 'master' | 'slave'): Promise<void> {
  while (!(await redis.admin(index).info('replication')).includes(`role:${role}`)) await sleep(POLL_MS)
}
