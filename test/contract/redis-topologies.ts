import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { Child } from '../../deploy/local/child-process.js'
import { freePort } from '../../deploy/local/free-port.js'
import { RedisServer } from '../../deploy/local/redis-server.js'
import { CERT_PATH, KEY_PATH } from '../support/tls/files.js'

/** Redis as somebody runs it: its address for nodes, and plain connections to its masters for the test. */
export class RedisTopology {
  constructor(
    readonly url: string,
    readonly admins: readonly [Redis, ...Redis[]],
    /** Stops its servers. */
    private readonly stop: () => Promise<unknown>,
  ) {
    // Tests kill masters.
    for (const admin of admins) admin.on('error', () => undefined)
  }

  async empty(): Promise<void> {
    await Promise.all(this.admins.map((admin) => admin.flushall()))
  }

  /** Resolves with whether there is a key. */
  async holds(key: string): Promise<boolean> {
    const counts = await Promise.all(
      // The servers of a Redis Cluster that have not the slot of the key say so.
      this.admins.map((admin) => admin.exists(key).catch(() => 0)),
    )
    return counts.some((count) => count > 0)
  }

  async remove(): Promise<void> {
    for (const admin of this.admins) admin.disconnect()
    await this.stop()
  }
}

async function oneServer(
  args: readonly string[],
  urlOf: (redis: RedisServer) => string,
): Promise<RedisTopology> {
  const redis = await RedisServer.start(args)
  return new RedisTopology(urlOf(redis), [new Redis(redis.url)], () => redis.remove())
}

/** Two that know nothing of each other. */
async function independentServers(): Promise<RedisTopology> {
  const [one, two] = await Promise.all([RedisServer.start(), RedisServer.start()])
  const stop = () => Promise.all([one.remove(), two.remove()])
  return new RedisTopology(`${one.url},${two.url}`, [new Redis(one.url), new Redis(two.url)], stop)
}

/** Encrypted, and the server asks for the certificate of a client. */
async function serverWithTls(): Promise<RedisTopology> {
  const port = await freePort()
  const files = ['--tls-cert-file', CERT_PATH, '--tls-key-file', KEY_PATH, '--tls-ca-cert-file', CERT_PATH]
  return oneServer(['--tls-port', `${port}`, ...files], () => `rediss://localhost:${port}`)
}

async function serverBehindSocket(): Promise<RedisTopology> {
  const directory = mkdtempSync(join(tmpdir(), 'fanfare-socket-'))
  const path = join(directory, 'redis.sock')
  const redis = await RedisServer.start(['--unixsocket', path])
  const stop = async () => {
    await redis.remove()
    rmSync(directory, { recursive: true, force: true })
  }
  return new RedisTopology(`unix://${path}?db=3`, [new Redis(`${redis.url}/3`)], stop)
}

/** Time without an answer after which Sentinels take a master for dead. */
export const DOWN_AFTER_MS = 1_000

/** A master with two replicas, and three Sentinels that watch it. */
export class SentinelTopology extends RedisTopology {
  private constructor(
    url: string,
    readonly admin: Redis,
    readonly servers: readonly RedisServer[],
    stop: () => Promise<unknown>,
  ) {
    super(url, [admin], stop)
  }

  static async start(): Promise<SentinelTopology> {
    const directory = mkdtempSync(join(tmpdir(), 'fanfare-sentinel-'))
    const fast = ['--repl-diskless-sync-delay', '0', '--repl-ping-replica-period', '1']
    const master = await RedisServer.start(fast)
    const replicas = await Promise.all(
      [1, 2].map(() => RedisServer.start([...fast, '--replicaof', `127.0.0.1 ${master.port}`])),
    )
    const servers = [master, ...replicas]
    const admin = new Redis(master.url)
    // A Sentinel finds replicas by asking the master, and would ask again only after 10 s.
    while (!(await admin.info('replication')).includes('connected_slaves:2'));
    const ports = await Promise.all([1, 2, 3].map(() => freePort()))
    const sentinels = await Promise.all(ports.map((port) => startSentinel(directory, port, master.port)))
    const [first, ...others] = ports.map((port) => new Redis(`redis://127.0.0.1:${port}`))
    if (first === undefined) throw new Error('no Sentinel')
    while (!(await knowsAll(first)));
    for (const other of others) while (!(await knowsAll(other)));
    for (const sentinel of [first, ...others]) sentinel.disconnect()
    const [address, ...further] = ports.map((port) => `127.0.0.1:${port}`)
    const addr = further.map((one) => `addr=${one}&`).join('')
    const url = `redis+sentinel://${address}?${addr}sentinel_master_name=main`
    const stop = async () => {
      await Promise.all(sentinels.map((sentinel) => sentinel.stop('SIGKILL')))
      await Promise.all(servers.map((server) => server.remove()))
      rmSync(directory, { recursive: true, force: true })
    }
    return new SentinelTopology(url, admin, servers, stop)
  }

  get master(): RedisServer {
    const [master] = this.servers
    if (master === undefined) throw new Error('no master')
    return master
  }
}

/** Resolves with whether a Sentinel knows both replicas and both other Sentinels. */
async function knowsAll(sentinel: Redis): Promise<boolean> {
  const known = (await sentinel.call('SENTINEL', 'MASTER', 'main')) as string[]
  const fieldOf = (name: string) => known[known.indexOf(name) + 1]
  return fieldOf('num-slaves') === '2' && fieldOf('num-other-sentinels') === '2'
}

async function startSentinel(directory: string, port: number, masterPort: number): Promise<Child> {
  const path = join(directory, `${port}.conf`)
  const lines = [
    `port ${port}`,
    'bind 127.0.0.1',
    `dir ${directory}`,
    `sentinel monitor main 127.0.0.1 ${masterPort} 2`,
    `sentinel down-after-milliseconds main ${DOWN_AFTER_MS}`,
    'sentinel failover-timeout main 5000',
  ]
  // A Sentinel writes into its configuration what it learns.
  writeFileSync(path, `${lines.join('\n')}\n`)
  const sentinel = new Child('redis-server', [path, '--sentinel'])
  await sentinel.line(/\+monitor master main/)
  return sentinel
}

/** Time without an answer after which the servers of a Redis Cluster take one for dead. */
export const NODE_TIMEOUT_MS = 1_000
const CLUSTER_SLOTS = 16_384

/** Three masters, and as many replicas as asked for. */
export class ClusterTopology extends RedisTopology {
  private constructor(
    readonly masters: readonly RedisServer[],
    readonly replicas: readonly RedisServer[],
    url: string,
    admins: readonly [Redis, ...Redis[]],
  ) {
    const servers = [...masters, ...replicas]
    super(url, admins, () => Promise.all(servers.map((server) => server.remove())))
  }

  /** @param replicaCount replicas, of the first master, then the second and so on */
  static async start(replicaCount = 0): Promise<ClusterTopology> {
    const args = [
      ...['--cluster-enabled', 'yes', '--cluster-node-timeout', `${NODE_TIMEOUT_MS}`],
      ...['--repl-diskless-sync-delay', '0', '--cluster-replica-validity-factor', '0'],
      ...['--cluster-require-full-coverage', 'no'],
      ...['--cluster-allow-replica-migration', 'no', '--repl-ping-replica-period', '1'],
    ]
    // A bus of its own, since ten thousand above the port may be no port.
    const buses = await Promise.all(Array.from({ length: 3 + replicaCount }, () => freePort()))
    const servers = await Promise.all(
      buses.map((bus) => RedisServer.start([...args, '--cluster-port', `${bus}`])),
    )
    const admins = servers.map(({ url }) => new Redis(url))
    const [first, ...others] = admins
    if (first === undefined) throw new Error('no server')
    const size = Math.ceil(CLUSTER_SLOTS / 3)
    await Promise.all(
      admins.slice(0, 3).map((admin, index) => {
        const last = Math.min(CLUSTER_SLOTS, (index + 1) * size) - 1
        return admin.cluster('ADDSLOTSRANGE', index * size, last)
      }),
    )
    await Promise.all(admins.map((admin, index) => admin.call('CLUSTER', 'SET-CONFIG-EPOCH', index + 1)))
    for (const [index, { port }] of servers.entries()) {
      if (index > 0) await first.call('CLUSTER', 'MEET', '127.0.0.1', port, buses[index] ?? 0)
    }
    for (const admin of admins) while (!(await knowsServers(admin, servers.length)));
    for (const [index, replica] of admins.slice(3).entries()) {
      await replica.cluster('REPLICATE', String(await admins[index]?.cluster('MYID')))
      while (!(await replica.info('replication')).includes('master_link_status:up'));
    }
    for (const admin of admins)
      while (!((await admin.call('CLUSTER', 'INFO')) as string).includes('state:ok'));
    const [seed, second] = servers
    const url = `redis+cluster://127.0.0.1:${seed?.port}?addr=127.0.0.1:${second?.port}`
    return new ClusterTopology(servers.slice(0, 3), servers.slice(3), url, [first, ...others])
  }

  /** Moves a slot with its keys to a master, as `redis-cli --cluster reshard` does. */
  async moveSlot(slot: number, from: number, to: number): Promise<void> {
    const [source, target] = [this.admins[from], this.admins[to]]
    const port = this.masters[to]?.port
    if (source === undefined || target === undefined || port === undefined) throw new Error('no master')
    const [sourceId, targetId] = await Promise.all([source.cluster('MYID'), target.cluster('MYID')])
    await target.cluster('SETSLOT', slot, 'IMPORTING', String(sourceId))
    await source.cluster('SETSLOT', slot, 'MIGRATING', String(targetId))
    for (;;) {
      const keys = (await source.call('CLUSTER', 'GETKEYSINSLOT', slot, 100)) as string[]
      if (keys.length === 0) break
      await source.call('MIGRATE', '127.0.0.1', port, '', 0, 5_000, 'KEYS', ...keys)
    }
    await target.cluster('SETSLOT', slot, 'NODE', String(targetId))
    await source.cluster('SETSLOT', slot, 'NODE', String(targetId))
  }
}

async function knowsServers(admin: Redis, count: number): Promise<boolean> {
  const nodes = String(await admin.call('CLUSTER', 'NODES'))
    .trim()
    .split('\n')
  return (
    nodes.length === count &&
    nodes.every((line) => line.includes(' connected') && !line.includes('handshake'))
  )
}

/** One topology for all tests of a suite, which starts with the first of them. */
export class SharedTopology {
  private started: Promise<RedisTopology> | undefined

  constructor(private readonly start: () => Promise<RedisTopology>) {}

  /** Empties it for another test. */
  async use(): Promise<RedisTopology> {
    this.started ??= this.start()
    const topology = await this.started
    await topology.empty()
    return topology
  }

  async remove(): Promise<void> {
    await (await this.started)?.remove()
  }
}

/** The topologies that every contract of a Redis holds on. */
export const REDIS_TOPOLOGIES: readonly (readonly [name: string, start: () => Promise<RedisTopology>])[] = [
  ['one Redis', () => oneServer([], ({ url }) => url)],
  ['a Redis with TLS', serverWithTls],
  ['a Redis behind a socket', serverBehindSocket],
  ['Sentinel', () => SentinelTopology.start()],
  ['two independent Redis', independentServers],
  ['a Redis Cluster', () => ClusterTopology.start()],
]
