import { Redis } from 'ioredis'
import { afterEach, describe, expect, it } from 'vitest'
import { IDEMPOTENCY_MS } from '../../src/broker/broker.js'
import { LEASE_MS } from '../../src/node/peers.js'
import { Keys } from '../../src/redis/keys.js'
import { callApi } from '../support/api.js'
import { afterThisTest, cleanUp } from '../support/clean-ups.js'
import { exported } from '../support/examples.js'
import { FanfareProcess } from '../support/fanfare-process.js'
import { freePort } from '../support/free-port.js'
import { codesIn, Page } from '../support/page.js'
import { RawClient } from '../support/raw-client.js'
import { RedisServer } from '../support/redis-server.js'

afterEach(cleanUp)

const page = new Page('docs/clustering.md')
/** Names of Redis channels, not of keys. */
const CHANNELS = ['channel', 'allNodes', 'oneNode']

/** Nodes as the page starts them, with a Redis and ports that are free. */
async function startNodes(settings: Record<string, string> = {}) {
  const redis = await RedisServer.start()
  afterThisTest(() => redis.remove())
  const shared: Record<string, string> = {
    ...exported(page.code('settings')),
    FANFARE_REDIS_URL: redis.url,
    ...settings,
  }
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
  return { redis, nodes, apiKey: shared['FANFARE_API_KEY'] ?? '' }
}

/** The documented keys without what differs between channels and nodes: `stream`, `presence:clients`. */
function documentedKeys(): readonly string[] {
  return page
    .rows('keys')
    .flatMap(({ cells: [keys = ''] }) => codesIn(keys).map((key) => key.replace(/:…$/, '')))
}

describe('the page about clusters', () => {
  it('starts nodes that are a cluster', async () => {
    const { nodes } = await startNodes()
    const [first, ...others] = await Promise.all(
      nodes.map((node) => RawClient.connect(`${node.wsUrl}/ws/room`, { token: 'change-me' })),
    )
    first?.send('to all')
    expect(others).toHaveLength(2)
    for (const other of others) expect(await other.nextText()).toBe('to all')
  })

  it('names every key that nodes keep in Redis', async () => {
    const kept = { history_size: 10, history_ttl: '1m', presence: true, allow_subscribe_for_client: true }
    const { nodes, redis, apiKey } = await startNodes({
      FANFARE_NAMESPACES: JSON.stringify([{ name: '', ...kept }]),
    })
    const [node] = nodes
    if (node === undefined) throw new Error('no node')
    const client = await RawClient.connect(`${node.wsUrl}/ws/room`, { token: 'change-me' })
    const body = { channel: 'room', data: 1, idempotency_key: 'once' }
    await callApi(node, 'publish', body, { 'X-API-Key': apiKey })
    await client.next()
    const observer = new Redis(redis.url)
    afterThisTest(() => observer.disconnect())
    const keys = await observer.keys('*')
    const documented = documentedKeys()
    const known = (key: string) => documented.some((one) => `${key}:`.startsWith(`fanfare:${one}:`))
    expect(keys.length).toBeGreaterThan(5)
    expect(
      keys.filter((key) => !known(key)),
      page.where('keys'),
    ).toEqual([])
  })

  it('names no key that nodes do not keep', () => {
    const keys = new Keys('fanfare')
    const methods = Object.getOwnPropertyNames(Keys.prototype).filter(
      (name) => name !== 'constructor' && !CHANNELS.includes(name),
    )
    const patterns = methods.map((name) => {
      const key = (keys as unknown as Record<string, (...parts: string[]) => string>)[name]?.('…', '…') ?? ''
      return key.replace(/^fanfare:/, '').replace(/:[{…].*$/, '')
    })
    expect(documentedKeys().toSorted(), page.where('keys')).toEqual(patterns.toSorted())
  })

  it('says how long leases and idempotency keys are kept', () => {
    const endOf = (key: string) =>
      page.rows('keys').find(({ cells }) => cells[0]?.startsWith(`\`${key}`))?.cells[2]
    expect(endOf('lease'), page.where('keys')).toContain(`${LEASE_MS / 1_000} s`)
    expect(endOf('idempotency'), page.where('keys')).toContain(`${IDEMPOTENCY_MS / 60_000} minutes`)
  })
})
