import { Redis } from 'ioredis'
import { afterEach, describe, expect, it } from 'vitest'
import { FanfareProcess } from '../../deploy/local/fanfare-process.js'
import { freePort } from '../../deploy/local/free-port.js'
import { RedisServer } from '../../deploy/local/redis-server.js'
import { parseRedisAddresses } from '../../src/config/redis-address.js'
import { callApi } from '../support/api.js'
import { afterThisTest, cleanUp } from '../support/clean-ups.js'
import { exported } from '../support/examples.js'
import { codesIn, Page } from '../support/page.js'
import { RawClient } from '../support/raw-client.js'

afterEach(cleanUp)

const page = new Page('docs/clustering.md')

async function startRedis(): Promise<RedisServer> {
  const redis = await RedisServer.start()
  afterThisTest(() => redis.remove())
  return redis
}

/** Starts nodes with the lines of the page, with this Redis and free ports. */
async function startNodes(redis: RedisServer, settings: Record<string, string> = {}) {
  const shared: Record<string, string> = {
    ...exported(page.code('settings')),
    FANFARE_REDIS_URL: redis.url,
    ...settings,
  }
  expect(exported(page.code('settings')), page.where('settings')).toHaveProperty('FANFARE_REDIS_URL')
  const lines = page.code('nodes').trim().split('\n')
  const nodes = await Promise.all(
    lines.map(async (line) => {
      const flags =
        line === 'npm start' ? '' : (/^npm start -- (.*)$/.exec(line)?.[1] ?? 'no start of a node')
      const given = await Promise.all(
        flags.split(' ').map(async (word) => (/^\d+$/.test(word) ? String(await freePort()) : word)),
      )
      const node = await FanfareProcess.start(shared, { flags: given.filter((word) => word !== '') })
      afterThisTest(() => node.child.stop())
      return node
    }),
  )
  return { nodes, apiKey: shared['FANFARE_API_KEY'] ?? '' }
}

describe('the page about clusters', () => {
  it('has addresses of Redis that nodes understand, of every kind', () => {
    const addresses = page.rows('addresses').map(({ cells: [address = ''] }) => codesIn(address)[0] ?? '')
    const types = addresses.flatMap((address) =>
      parseRedisAddresses(address).map(({ target }) => target.type),
    )
    const all = new Set(['host', 'sentinel', 'socket', 'cluster'])
    expect(new Set(types), page.where('addresses')).toEqual(all)
  })

  it('starts nodes that form a cluster', async () => {
    const { nodes } = await startNodes(await startRedis())
    const [first, ...others] = await Promise.all(
      nodes.map((node) => RawClient.connect(`${node.wsUrl}/ws/room`, { token: 'change-me' })),
    )
    first?.send('to all')
    expect(others).toHaveLength(2)
    for (const other of others) expect(await other.nextText()).toBe('to all')
  })

  it('creates a Redis user with all permissions that nodes need', async () => {
    const redis = await startRedis()
    const observer = new Redis(redis.url)
    afterThisTest(() => observer.disconnect())
    const [command = '', ...rest] = page.code('acl').trim().split(' ')
    await observer.call(command, ...rest)
    const namespace = {
      history_size: 10,
      history_ttl: '1m',
      presence: true,
      allow_subscribe_for_client: true,
    }
    const { nodes, apiKey } = await startNodes(redis, {
      FANFARE_REDIS_URL: `redis://fanfare:change-me@127.0.0.1:${redis.port}`,
      FANFARE_NAMESPACES: JSON.stringify([{ name: '', ...namespace, join_leave: true }]),
    })
    const [node] = nodes
    if (node === undefined) throw new Error('no node')
    const open = () => RawClient.connect(`${node.wsUrl}/ws/room?events=leave`, { token: 'change-me' })
    const [client, other] = [await open(), await open()]
    const call = async (method: string, body: object) => {
      const answer = await callApi(node, method, { channel: 'room', ...body }, { 'X-API-Key': apiKey })
      expect(answer, `${page.path}: ${method}`).toEqual({ status: 200, body: { result: expect.any(Object) } })
    }
    await call('publish', { data: 1 })
    await call('publish', { data: 2, idempotency_key: 'once' })
    await call('history', { limit: -1 })
    await call('presence', {})
    await call('presence_stats', {})
    await client.nextTexts(2)
    await call('history_remove', {})
    other.close()
    expect(await client.nextText()).toContain('"leave"')
    for (const { child } of nodes) {
      await child.stop()
      expect(child.output, page.where('acl')).not.toMatch(/NOPERM|"level":"(?:warn|error)"/)
    }
  })
})
