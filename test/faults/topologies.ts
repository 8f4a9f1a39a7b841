import { Redis } from 'ioredis'
import { runFanfare } from '../../deploy/local/fanfare-process.js'
import { RedisServer } from '../../deploy/local/redis-server.js'
import type { Cleanup } from '../../load/cleanup.js'
import { ClusterTopology, SentinelTopology } from '../contract/redis-topologies.js'
import { TcpProxy } from '../support/tcp-proxy.js'

/** Redis as it is run, by the name that `--topology` takes. `example` is an address of its kind. */
export const TOPOLOGIES = {
  one: { summary: 'one Redis', example: 'redis://127.0.0.1:1' },
  replica: { summary: 'a master with a replica, behind a TCP proxy', example: 'redis://127.0.0.1:1' },
  sentinel: {
    summary: 'a master with two replicas and three Sentinels',
    example: 'redis+sentinel://127.0.0.1:1?sentinel_master_name=main',
  },
  cluster: {
    summary: 'a Redis Cluster of three masters, each with a replica',
    example: 'redis+cluster://127.0.0.1:1?addr=127.0.0.1:2',
  },
  several: { summary: 'two independent Redis', example: 'redis://127.0.0.1:1,redis://127.0.0.1:2' },
} as const

export type TopologyName = keyof typeof TOPOLOGIES

export const TOPOLOGY_NAMES = Object.keys(TOPOLOGIES) as readonly TopologyName[]

/** Which nodes reach Redis through a proxy that faults can cut, deaden or lead elsewhere. */
export type Proxied = 'none' | 'first' | 'all'

export interface RedisOptions {
  readonly args: readonly string[]
  readonly proxied: Proxied
}

/** Exit code of the command for a wrong configuration. */
const USAGE_ERROR = 2

/** Whether nodes of this build accept an address of this kind. */
export async function isSupported(name: TopologyName): Promise<boolean> {
  const settings = { FANFARE_REDIS_URL: TOPOLOGIES[name].example, FANFARE_AUTH_TOKENS: 'secret' }
  const { code } = await runFanfare(['config'], settings).exited
  return code !== USAGE_ERROR
}

/** One for each master of a Redis Cluster. */
const REPLICAS = 3

interface StartedServers {
  readonly servers: readonly RedisServer[]
  readonly url: string
  readonly cluster?: ClusterTopology
}

/** The Redis of one run. A cleanup ends what it has started. */
export class RedisUnderFault {
  private readonly admins = new Map<RedisServer, Redis>()

  private constructor(
    readonly name: TopologyName,
    /** Masters first: one, or three in a cluster; `several` are all masters. */
    readonly servers: readonly RedisServer[],
    private readonly url: string,
    private readonly proxied: Proxied,
    private readonly optionalProxy: TcpProxy | undefined,
    private readonly optionalCluster: ClusterTopology | undefined,
  ) {}

  static async start(name: TopologyName, options: RedisOptions, cleanup: Cleanup): Promise<RedisUnderFault> {
    const { servers, url, cluster } = await start(name, options.args, cleanup)
    const [master] = servers
    if (master === undefined) throw new Error('a topology has a master')
    const proxied = name === 'replica' ? 'all' : options.proxied
    const proxy = proxied === 'none' ? undefined : await TcpProxy.start(master.port)
    const redis = new RedisUnderFault(name, servers, url, proxied, proxy, cluster)
    cleanup.defer(() => {
      for (const admin of redis.admins.values()) admin.disconnect()
      proxy?.remove()
      return Promise.resolve()
    })
    return redis
  }

  /** The address that a node is given. */
  urlFor(node: number): string {
    const isProxied = this.proxied === 'all' || (this.proxied === 'first' && node === 0)
    return isProxied ? `redis://127.0.0.1:${this.proxy.port}` : this.url
  }

  get proxy(): TcpProxy {
    if (this.optionalProxy === undefined) throw new Error('this fault needs `proxied`')
    return this.optionalProxy
  }

  get cluster(): ClusterTopology {
    if (this.optionalCluster === undefined) throw new Error(`${this.name} is no Redis Cluster`)
    return this.optionalCluster
  }

  server(index: number): RedisServer {
    const server = this.servers[index]
    if (server === undefined) throw new Error(`${this.name} has no server ${index}`)
    return server
  }

  /** A connection for commands of the fault itself. */
  admin(index: number): Redis {
    const server = this.server(index)
    const known = this.admins.get(server)
    if (known !== undefined) return known
    const admin = new Redis(server.url)
    // Faults kill servers.
    admin.on('error', () => undefined)
    this.admins.set(server, admin)
    return admin
  }
}

async function start(name: TopologyName, args: readonly string[], cleanup: Cleanup): Promise<StartedServers> {
  switch (name) {
    case 'one': {
      const servers = [await startOne(args, cleanup)]
      return { servers, url: addressesOf(servers) }
    }
    case 'several': {
      const servers = [await startOne(args, cleanup), await startOne(args, cleanup)]
      return { servers, url: addressesOf(servers) }
    }
    case 'replica': {
      const master = await startOne([...args, '--repl-diskless-sync-delay', '0'], cleanup)
      const replica = await startOne([...args, '--replicaof', `127.0.0.1 ${master.port}`], cleanup)
      await replicaOf(replica)
      return { servers: [master, replica], url: master.url }
    }
    case 'sentinel': {
      requireNoArguments(name, args)
      const topology = await SentinelTopology.start()
      cleanup.defer(() => topology.remove())
      return topology
    }
    case 'cluster': {
      requireNoArguments(name, args)
      const cluster = await ClusterTopology.start(REPLICAS)
      cleanup.defer(() => cluster.remove())
      return { servers: [...cluster.masters, ...cluster.replicas], url: cluster.url, cluster }
    }
  }
}

function requireNoArguments(name: TopologyName, args: readonly string[]): void {
  if (args.length > 0) throw new Error(`servers of ${name} take no arguments of a fault`)
}

function addressesOf(servers: readonly RedisServer[]): string {
  return servers.map(({ url }) => url).join(',')
}

async function startOne(args: readonly string[], cleanup: Cleanup): Promise<RedisServer> {
  const server = await RedisServer.start(args)
  cleanup.defer(() => removeServer(server))
  return server
}

async function removeServer(server: RedisServer): Promise<void> {
  server.resume()
  await server.remove()
}

/** Resolves once a replica has all that its master has. */
async function replicaOf(replica: RedisServer): Promise<void> {
  const admin = new Redis(replica.url)
  while (!(await admin.info('replication')).includes('master_link_status:up'));
  admin.disconnect()
}
