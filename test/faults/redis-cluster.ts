import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { freePort } from '../../deploy/local/free-port.js'
import { RedisServer } from '../../deploy/local/redis-server.js'

const SLOTS = 16_384
const MASTERS = 3
/** Time without an answer after which the others take a master for dead, and its replica is promoted. */
export const CLUSTER_NODE_TIMEOUT_MS = 1_500
const POLL_MS = 100

/** Starts three masters, each with a replica, as one Redis Cluster. The masters come first. */
export async function startRedisCluster(args: readonly string[]): Promise<readonly RedisServer[]> {
  const ports = await Promise.all(Array.from({ length: 2 * MASTERS }, () => freePort()))
  const servers = await Promise.all(
    ports.map((busPort) =>
      RedisServer.start([
        '--cluster-enabled',
        'yes',
        '--cluster-port',
        `${busPort}`,
        '--cluster-node-timeout',
        `${CLUSTER_NODE_TIMEOUT_MS}`,
        '--repl-diskless-sync-delay',
        '0',
        ...args,
      ]),
    ),
  )
  const admins = servers.map(({ url }) => new Redis(url))
  try {
    await join(servers, ports, admins)
  } finally {
    for (const admin of admins) admin.disconnect()
  }
  return servers
}

async function join(
  servers: readonly RedisServer[],
  busPorts: readonly number[],
  admins: readonly Redis[],
): Promise<void> {
  const [first, ...others] = admins
  const masters = admins.slice(0, MASTERS)
  for (const [index, master] of masters.entries()) {
    const from = Math.floor((SLOTS * index) / MASTERS)
    const to = Math.floor((SLOTS * (index + 1)) / MASTERS) - 1
    await master.call('CLUSTER', 'ADDSLOTSRANGE', from, to)
    await master.call('CLUSTER', 'SET-CONFIG-EPOCH', index + 1)
  }
  for (const other of others) {
    const index = admins.indexOf(other)
    await first?.call('CLUSTER', 'MEET', '127.0.0.1', servers[index]?.port ?? 0, busPorts[index] ?? 0)
  }
  await every(admins, async (admin) => {
    const nodes = String(await admin.call('CLUSTER', 'NODES'))
    return nodes.trim().split('\n').length === servers.length && !nodes.includes('handshake')
  })
  for (const [index, master] of masters.entries()) {
    const id = String(await master.call('CLUSTER', 'MYID'))
    await admins[MASTERS + index]?.call('CLUSTER', 'REPLICATE', id)
  }
  await every(admins, async (admin) =>
    String(await admin.call('CLUSTER', 'INFO')).includes('cluster_state:ok'),
  )
  // A replica that has never had its master's data is not promoted.
  const replicas = admins.slice(MASTERS)
  await every(replicas, async (admin) => (await admin.info('replication')).includes('master_link_status:up'))
}

async function every(admins: readonly Redis[], isDone: (admin: Redis) => Promise<boolean>): Promise<void> {
  for (const admin of admins) while (!(await isDone(admin))) await sleep(POLL_MS)
}

/** Moves a slot with its keys from one master to another as `redis-cli --cluster reshard` does. */
export async function moveSlot(
  slot: number,
  from: { readonly server: RedisServer; readonly admin: Redis },
  to: { readonly server: RedisServer; readonly admin: Redis },
  masters: readonly Redis[],
): Promise<void> {
  const [fromId, toId] = [await from.admin.call('CLUSTER', 'MYID'), await to.admin.call('CLUSTER', 'MYID')]
  await to.admin.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', String(fromId))
  await from.admin.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', String(toId))
  for (;;) {
    const keys = (await from.admin.call('CLUSTER', 'GETKEYSINSLOT', slot, 100)) as string[]
    if (keys.length === 0) break
    await from.admin.call('MIGRATE', '127.0.0.1', to.server.port, '', 0, 5_000, 'REPLACE', 'KEYS', ...keys)
  }
  // The new owner first: a client that is sent there by the old one must not be sent back.
  for (const admin of [to.admin, from.admin, ...masters]) {
    await admin.call('CLUSTER', 'SETSLOT', slot, 'NODE', String(toId))
  }
}
