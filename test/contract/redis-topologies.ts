import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { Child } from '../../deploy/local/child-process.js'
import { freePort } from '../../deploy/local/free-port.js'
import { RedisServer } from '../../deploy/local/redis-server.js'
import { CERT_PATH, KEY_PATH } from '../support/tls/files.js'

/** Redis as somebody runs it: its address for nodes, and a plain connection to its master for the test. */
export interface RedisTopology {
  readonly url: string
  readonly admin: Redis
  remove(): Promise<void>
}

async function oneServer(
  args: readonly string[],
  urlOf: (redis: RedisServer) => string,
): Promise<RedisTopology> {
  const redis = await RedisServer.start(args)
  const admin = new Redis(redis.url)
  return {
    url: urlOf(redis),
    admin,
    remove: async () => {
      admin.disconnect()
      await redis.remove()
    },
  }
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
  const server = await oneServer(['--unixsocket', path], () => `unix://${path}?db=3`)
  await server.admin.select(3)
  return {
    ...server,
    remove: async () => {
      await server.remove()
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

/** Time without an answer after which Sentinels take a master for dead. */
export const DOWN_AFTER_MS = 1_000

/** A master with two replicas, and three Sentinels that watch it. */
export class SentinelTopology implements RedisTopology {
  private constructor(
    readonly url: string,
    readonly admin: Redis,
    readonly servers: readonly RedisServer[],
    private readonly sentinels: readonly Child[],
    private readonly directory: string,
  ) {}

  static async start(): Promise<SentinelTopology> {
    const directory = mkdtempSync(join(tmpdir(), 'fanfare-sentinel-'))
    const fast = ['--repl-diskless-sync-delay', '0', '--repl-ping-replica-period', '1']
    const master = await RedisServer.start(fast)
    const replicas = await Promise.all(
      [1, 2].map(() => RedisServer.start([...fast, '--replicaof', `127.0.0.1 ${master.port}`])),
    )
    const servers = [master, ...replicas]
    const admin = new Redis(master.url)
    // Tests kill the master.
    admin.on('error', () => undefined)
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
    return new SentinelTopology(url, admin, servers, sentinels, directory)
  }

  get master(): RedisServer {
    const [master] = this.servers
    if (master === undefined) throw new Error('no master')
    return master
  }

  async remove(): Promise<void> {
    this.admin.disconnect()
    await Promise.all(this.sentinels.map((sentinel) => sentinel.stop('SIGKILL')))
    await Promise.all(this.servers.map((server) => server.remove()))
    rmSync(this.directory, { recursive: true, force: true })
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

/** One topology for all tests of a suite, which starts with the first of them. */
export class SharedTopology {
  private started: Promise<RedisTopology> | undefined

  constructor(private readonly start: () => Promise<RedisTopology>) {}

  /** Empties it for another test. */
  async use(): Promise<RedisTopology> {
    this.started ??= this.start()
    const topology = await this.started
    await topology.admin.flushall()
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
]
