import { Redis } from 'ioredis'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { FanfareProcess, runFanfare } from '../../deploy/local/fanfare-process.js'
import { freePort } from '../../deploy/local/free-port.js'
import { RedisServer } from '../../deploy/local/redis-server.js'
import { afterThisTest, cleanUp } from '../support/clean-ups.js'
import { eventually, metric } from '../support/metric.js'
import { RawClient } from '../support/raw-client.js'
import { TcpProxy } from '../support/tcp-proxy.js'

interface Ready {
  readonly status: string
  readonly reasons?: readonly string[]
}

async function startRedis(args: readonly string[] = []): Promise<RedisServer> {
  const redis = await RedisServer.start(args)
  afterThisTest(() => redis.remove())
  return redis
}

function connect(redis: RedisServer): Redis {
  const admin = new Redis(redis.url)
  afterThisTest(() => admin.disconnect())
  return admin
}

async function readyOf(internalUrl: string): Promise<Ready> {
  return (await (await fetch(`${internalUrl}/ready`)).json()) as Ready
}

async function untilReason(internalUrl: string, reason: string): Promise<void> {
  await eventually(
    async () => (await readyOf(internalUrl)).reasons?.includes(reason) === true,
    `/ready says ${reason}`,
  )
}

async function untilOk(internalUrl: string): Promise<void> {
  await eventually(async () => (await readyOf(internalUrl)).status === 'ok', '/ready says ok')
}

afterEach(cleanUp)

describe('a node that Redis refuses something says so in /ready, in a metric and in one line, and heals', () => {
  let redis: RedisServer
  let admin: Redis
  let node: FanfareProcess

  beforeEach(async () => {
    redis = await startRedis()
    admin = connect(redis)
    await admin.acl('SETUSER', 'app', 'on', '>pw', '~*', '&*', '+@all')
    node = await FanfareProcess.start({
      FANFARE_REDIS_URL: redis.url.replace('//', '//app:pw@'),
      FANFARE_AUTH_TOKENS: 'ann=secret',
      FANFARE_NAMESPACES: JSON.stringify([{ name: '', presence: true, allow_subscribe_for_client: true }]),
    })
    afterThisTest(() => node.child.stop('SIGKILL'))
  })

  const linesAbout = (reason: string) => node.child.lines.filter((line) => line.includes(`"${reason}"`))

  it.each(['set', 'sadd', 'mget', 'smembers', 'evalsha', 'publish'])('after ACL -%s', async (command) => {
    await admin.acl('SETUSER', 'app', `-${command}`)
    await untilReason(node.internalUrl, 'redis_no_permission')
    expect((await readyOf(node.internalUrl)).status).toMatch(/^(?:degraded|deaf)$/)
    expect(linesAbout('redis_no_permission')).toHaveLength(1)
    const failures = (await node.metrics())
      .split('\n')
      .filter((line) => line.startsWith('fanfare_redis_command_failures_total'))
    expect(failures.join()).toContain('reason="redis_no_permission"')
    await admin.acl('SETUSER', 'app', `+${command}`)
    await untilOk(node.internalUrl)
  })

  it('after ACL -hset, without which no client can be added to the presence of its channel', async () => {
    await admin.acl('SETUSER', 'app', '-hset')
    const client = await RawClient.connect(`${node.wsUrl}/ws/room`, { token: 'secret' })
    await untilReason(node.internalUrl, 'redis_no_permission')
    await admin.acl('SETUSER', 'app', '+hset')
    client.close()
    await untilOk(node.internalUrl)
  })

  it('after it may not subscribe any longer, which also leaves it without its own messages', async () => {
    await admin.acl('SETUSER', 'app', 'resetchannels')
    await untilReason(node.internalUrl, 'redis_no_permission')
    await untilReason(node.internalUrl, 'relay_silent')
    await admin.acl('SETUSER', 'app', '&*')
    await untilOk(node.internalUrl)
  })

  it('when the memory of Redis is exhausted', async () => {
    await admin.config('SET', 'maxmemory', '1')
    await untilReason(node.internalUrl, 'redis_out_of_memory')
    await admin.config('SET', 'maxmemory', '0')
    await untilOk(node.internalUrl)
  })

  it('when its address leads to a replica', async () => {
    const master = await startRedis()
    await admin.replicaof('127.0.0.1', master.port)
    await untilReason(node.internalUrl, 'redis_replica')
    // It goes on connecting to the replica, which must not look like the end of the refusal.
    const reconnects = async () =>
      metric(await node.metrics(), 'fanfare_redis_reconnects_total', '{shard="0",role="publisher"}')
    const before = await reconnects()
    await eventually(async () => (await reconnects()) >= before + 2, 'the node has connected anew twice')
    expect(linesAbout('redis_replica')).toHaveLength(1)
    expect(node.child.output).not.toContain('Redis does again what this node needs')
    await admin.replicaof('NO', 'ONE')
    await untilOk(node.internalUrl)
    expect(metric(await node.metrics(), 'fanfare_redis_up', '{shard="0",role="subscriber"}')).toBe(1)
  })
})

describe('a node that cannot use its Redis at all says why', () => {
  async function startUnready(url: string): Promise<string> {
    const internalPort = await freePort()
    const child = runFanfare(['serve'], {
      FANFARE_REDIS_URL: url,
      FANFARE_AUTH_TOKENS: 'secret',
      FANFARE_PORT: '0',
      FANFARE_INTERNAL_PORT: String(internalPort),
    })
    afterThisTest(() => child.stop('SIGKILL'))
    await child.line(/Redis refuses what this node needs/)
    return `http://127.0.0.1:${internalPort}`
  }

  it('where the database does not exist, and uses no other one', async () => {
    const redis = await startRedis()
    const internalUrl = await startUnready(`${redis.url}/99`)
    await untilReason(internalUrl, 'redis_no_database')
    expect((await readyOf(internalUrl)).status).toBe('starting')
    expect(await connect(redis).keys('*')).toEqual([])
  })

  it('where it is a node of a Redis Cluster', async () => {
    const redis = await startRedis(['--cluster-enabled', 'yes', '--cluster-port', String(await freePort())])
    await connect(redis).call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383')
    await untilReason(await startUnready(redis.url), 'redis_cluster')
  })

  it('where Redis is too old', async () => {
    const redis = await startRedis()
    const version = /redis_version:([\d.]+)/.exec(await connect(redis).info('server'))?.[1] ?? ''
    const proxy = await TcpProxy.start(redis.port)
    afterThisTest(() => proxy.remove())
    // A version of as many characters, which is what RESP counts.
    proxy.rewrite = (text) => text.replaceAll(version, '6.0.99999'.slice(0, version.length))
    await untilReason(await startUnready(`redis://127.0.0.1:${proxy.port}`), 'redis_too_old')
  })
})
