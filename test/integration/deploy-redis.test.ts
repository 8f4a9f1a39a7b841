import { existsSync, readdirSync } from 'node:fs'
import { Redis } from 'ioredis'
import { afterEach, describe, expect, it } from 'vitest'
import { FanfareProcess } from '../../deploy/local/fanfare-process.js'
import { parseRedisAddresses } from '../../src/config/redis-address.js'
import { environmentName, SETTINGS } from '../../src/config/settings.js'
import { ClusterTopology } from '../contract/redis-topologies.js'
import { API_KEY, callApi } from '../support/api.js'
import { afterThisTest, cleanUp } from '../support/clean-ups.js'
import { shipped } from '../support/deployment.js'
import { eventually } from '../support/metric.js'
import { RawClient } from '../support/raw-client.js'
import { RedisDeployment, redisServices } from '../support/redis-deployment.js'
import { ROOT } from '../support/repository.js'

afterEach(cleanUp)

const FILES = readdirSync(`${ROOT}deploy/redis`).filter((name) => name.endsWith('.yml'))
const READY = /Ready to accept connections/
const SECRETS = ['authTokens', 'authHmacSecret', 'apiKey'] as const
const KEEPS_ALL = {
  FANFARE_NAMESPACES: JSON.stringify([
    {
      name: '',
      history_size: 10,
      history_ttl: '1m',
      presence: true,
      join_leave: true,
      allow_subscribe_for_client: true,
    },
  ]),
}

function deploy(file: string): RedisDeployment {
  const deployment = new RedisDeployment(file)
  afterThisTest(() => deployment.remove())
  return deployment
}

async function startNodes(deployment: RedisDeployment, ...names: string[]): Promise<FanfareProcess[]> {
  const nodes = await Promise.all(names.map((name) => deployment.startNode(name, KEEPS_ALL)))
  afterThisTest(() => Promise.all(nodes.map(({ child }) => child.stop('SIGKILL'))))
  return nodes
}

function connectTo(url: string): Redis {
  const redis = new Redis(url)
  // Tests kill servers.
  redis.on('error', () => undefined)
  afterThisTest(() => redis.disconnect())
  return redis
}

async function readinessOf(node: FanfareProcess): Promise<unknown> {
  return (await fetch(`${node.internalUrl}/ready`)).json()
}

/** Does with a node all that takes a permission, and checks that Redis has refused nothing. */
async function useEverything(node: FanfareProcess): Promise<void> {
  const open = () => RawClient.connect(`${node.wsUrl}/ws/room?events=leave`, { token: 'secret' })
  const [client, other] = [await open(), await open()]
  const callWith = async (method: string, body: object) =>
    expect((await callApi(node, method, body)).body, method).toHaveProperty('result')
  const call = (method: string, body: object) => callWith(method, { channel: 'room', ...body })
  await call('publish', { data: 1 })
  await call('publish', { data: 2, idempotency_key: 'once' })
  await call('publish', { data: 3, skip_history: true })
  await call('publish', { data: 4, skip_history: true, idempotency_key: 'once more' })
  await call('history', { limit: -1 })
  await call('presence', {})
  await call('presence_stats', {})
  await callWith('info', {})
  expect(await client.nextTexts(4)).toEqual(['1', '2', '3', '4'])
  await call('history_remove', {})
  other.close()
  expect(await client.nextText()).toContain('"leave"')
  expect(await readinessOf(node)).toEqual({ status: 'ok' })
  await node.child.stop()
  expect(node.child.output).not.toMatch(/NOPERM|"level":"(?:warn|error)"/)
}

describe('the examples of deploy/redis', () => {
  it.each(FILES)(
    'has in %s two nodes with an address of its Redis, secrets from outside and local ports',
    (file) => {
      const services = redisServices(file)
      const nodes = ['node1', 'node2'].map((name) => services[name])
      for (const node of nodes) {
        const { environment = {} } = node ?? {}
        const [{ target }] = parseRedisAddresses(environment[environmentName('redisUrl')] ?? '')
        const servers =
          target.type === 'sentinel'
            ? target.sentinels
            : target.type === 'cluster'
              ? target.servers
              : [target]
        const known = Object.entries(services).flatMap(([name, { networks }]) =>
          networks === undefined || Array.isArray(networks) ? [name] : [networks['redis']?.ipv4_address],
        )
        for (const server of servers) expect(known).toContain('host' in server ? server.host : undefined)
        for (const name of SECRETS.map(environmentName))
          expect(environment[name]).toMatch(new RegExp(`^\\$\\{${name}:\\?.+\\}$`))
        expect(Number.parseInt(node?.stop_grace_period ?? '', 10) * 1_000).toBeGreaterThan(
          SETTINGS.drainWindow.default + 10_000,
        )
      }
      const ports = Object.values(services).flatMap((service) => service.ports ?? [])
      expect(ports).toEqual(['127.0.0.1:8000:8000', '127.0.0.1:8001:8000'])
      expect(shipped(`deploy/redis/${file}`)).toContain(
        `docker compose --project-directory . -f deploy/redis/${file} up`,
      )
    },
  )

  it.each(FILES)('runs in %s only programs of its images, on files that exist', (file) => {
    for (const { image, command = [], volumes = [], healthcheck } of Object.values(redisServices(file))) {
      const used = [...command, ...(healthcheck?.test ?? [])].join(' ')
      const programs = [...used.matchAll(/\b(redis|valkey)-(?:server|sentinel|cli)\b/g)]
      for (const [, family = ''] of programs)
        expect(image).toMatch(new RegExp(`^(?:valkey/)?${family}:8-alpine$`))
      for (const [path] of used.matchAll(/\/etc\/redis\/[\w.-]+/g))
        expect(existsSync(path.replace('/etc/redis/', `${ROOT}deploy/redis/`)), path).toBe(true)
      for (const volume of volumes) expect(existsSync(`${ROOT}${volume.split(':')[0]}`), volume).toBe(true)
    }
  })

  it('run nodes that publish again after Sentinels have replaced a lost master', async () => {
    const deployment = deploy('compose.sentinel.yml')
    await deployment.start(['redis1'], READY)
    await deployment.start(['redis2', 'redis3'], READY)
    const master = connectTo(deployment.url('redis1'))
    await eventually(
      async () => (await master.info('replication')).includes('connected_slaves:2'),
      'two replicas',
    )
    const names = ['sentinel1', 'sentinel2', 'sentinel3']
    await deployment.start(names, /\+monitor master mymaster/)
    // Any of them may be the one that replaces the master.
    for (const sentinel of names.map((name) => connectTo(deployment.url(name)))) {
      await eventually(async () => {
        const known = String(await sentinel.call('SENTINEL', 'MASTER', 'mymaster'))
        return known.includes('num-slaves,2') && known.includes('num-other-sentinels,2')
      }, 'each Sentinel knows the replicas and the others')
    }
    const settings = await master.config('GET', 'm*')
    expect(settings).toEqual(
      expect.arrayContaining(['maxmemory-policy', 'noeviction', 'min-replicas-to-write', '1']),
    )
    const [node] = await startNodes(deployment, 'node1')
    if (node === undefined) throw new Error('no node')
    const client = await RawClient.connect(`${node.wsUrl}/ws/room`, { token: 'secret' })
    const publish = async (data: number) => (await callApi(node, 'publish', { channel: 'room', data })).body
    expect(await publish(1)).toHaveProperty('result')
    await deployment.kill('redis1')
    await expect.poll(() => publish(2)).toHaveProperty('result')
    expect(await client.nextTexts(2)).toEqual(['1', '2'])
  })

  it('run nodes on a Redis Cluster, and create it once', async () => {
    const deployment = deploy('compose.cluster.yml')
    const servers = [1, 2, 3, 4, 5, 6].map((number) => `redis${number}`)
    await deployment.start(servers, READY)
    expect(await deployment.finish('create'), deployment.output('create')).toBe(0)
    expect(deployment.output('create')).toContain('All 16384 slots covered')
    expect(await deployment.finish('create'), deployment.output('create')).toBe(0)
    expect(deployment.output('create')).not.toContain('slots covered')
    const admin = connectTo(deployment.url('redis1'))
    await eventually(async () => {
      const nodes = String(await admin.cluster('NODES'))
        .trim()
        .split('\n')
      return nodes.filter((line) => line.includes('slave')).length === 3
    }, 'each master has a replica')
    const [first, second] = await startNodes(deployment, 'node1', 'node2')
    if (first === undefined || second === undefined) throw new Error('no node')
    const client = await RawClient.connect(`${second.wsUrl}/ws/room`, { token: 'secret' })
    await callApi(first, 'publish', { channel: 'room', data: 'hello' })
    expect(await client.nextText()).toBe('"hello"')
    expect(await readinessOf(first)).toEqual({ status: 'ok' })
  })

  it('run nodes on one server with an access control list, which permits all that they need and no more', async () => {
    const deployment = deploy('compose.valkey.yml')
    await deployment.start(['valkey'], READY)
    const [node] = await startNodes(deployment, 'node1')
    if (node === undefined) throw new Error('no node')
    await useEverything(node)
    const url = deployment.url('valkey')
    const anonymous = connectTo(url)
    await expect(anonymous.get('fanfare:era')).rejects.toThrow('NOAUTH')
    const limited = connectTo(url.replace('//', '//fanfare:change-me@'))
    for (const refused of [
      limited.get('another:key'),
      limited.publish('another:channel', ''),
      limited.flushall(),
      limited.call('CLIENT', 'KILL', 'TYPE', 'pubsub'),
      limited.call('CLIENT', 'PAUSE', 1),
      limited.config('GET', '*'),
      limited.keys('*'),
    ])
      await expect(refused).rejects.toThrow('NOPERM')
  })
})

describe('the access control lists', () => {
  const FILES_OF_USERS = ['users.acl', 'users-cluster.acl']

  it.each(FILES_OF_USERS)(
    '%s is one that Redis reads, has no user without a password, and names all to change',
    async (file) => {
      const lines = shipped(`deploy/redis/${file}`).trim().split('\n')
      expect(lines[0]).toBe('user default off')
      for (const line of lines.slice(1)) expect(line).toMatch(/^user \w+ on >change-me(?:-\w+)? /)
      const deployment = deploy('compose.valkey.yml')
      await deployment.start(['valkey'], READY)
      const admin = connectTo(deployment.url('valkey').replace('//', '//admin:change-me-admin@'))
      for (const line of lines)
        expect(await admin.call('ACL', 'SETUSER', ...line.split(' ').slice(1))).toBe('OK')
    },
  )

  it('of a Redis Cluster permits all that nodes need', async () => {
    const cluster = await ClusterTopology.start()
    afterThisTest(() => cluster.remove())
    const user = shipped('deploy/redis/users-cluster.acl').trim().split('\n').at(-1) ?? ''
    for (const admin of cluster.admins) await admin.call('ACL', 'SETUSER', ...user.split(' ').slice(1))
    const node = await FanfareProcess.start({
      FANFARE_REDIS_URL: cluster.url.replace('//', '//fanfare:change-me@'),
      FANFARE_AUTH_TOKENS: 'tester=secret',
      FANFARE_API_KEY: API_KEY,
      ...KEEPS_ALL,
    })
    afterThisTest(() => node.child.stop('SIGKILL'))
    await useEverything(node)
  })
})
