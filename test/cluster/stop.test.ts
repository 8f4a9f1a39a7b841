import { Redis } from 'ioredis'
import { expect, it } from 'vitest'
import { FanfareProcess } from '../../deploy/local/fanfare-process.js'
import { RedisServer } from '../../deploy/local/redis-server.js'
import { eventually } from '../support/metric.js'
import { RawClient, refusalOf } from '../support/raw-client.js'
import { TcpProxy } from '../support/tcp-proxy.js'

/** How much longer than its window a drain may take, as documented. */
const DRAIN_GRACE_MS = 10_000

it('a node that is stopped while a client waits for a frozen Redis refuses the client and ends', async () => {
  const redis = await RedisServer.start()
  const node = await FanfareProcess.start({
    FANFARE_REDIS_URL: redis.url,
    FANFARE_AUTH_TOKENS: 'secret',
    FANFARE_MAX_CONNECTIONS: '1',
  })
  redis.freeze()
  const refused = refusalOf(RawClient.connect(`${node.wsUrl}/ws/room`, { token: 'secret' }))
  // Once this one is refused, the node has received the attempt before it.
  await eventually(async () => {
    const client = await RawClient.connect(`${node.wsUrl}/echo`, { token: 'secret' }).catch(() => undefined)
    client?.close()
    return client === undefined
  }, 'the only slot is taken')
  node.child.kill('SIGTERM')
  const refusal = await refused
  expect(refusal.status).toBe(503)
  expect(refusal.headers['retry-after']).toMatch(/^[1-5]$/)
  expect(await node.child.exited).toEqual({ code: 0, signal: null })
  redis.resume()
  await redis.remove()
})

it('a node that cannot leave a slow Redis before the deadline of its drain ends with 1', {
  timeout: 30_000,
}, async () => {
  const redis = await RedisServer.start()
  const proxy = await TcpProxy.start(redis.port)
  const admin = new Redis(redis.url)
  const node = await FanfareProcess.start({
    FANFARE_REDIS_URL: `redis://127.0.0.1:${proxy.port}`,
    FANFARE_AUTH_TOKENS: 'secret',
    FANFARE_DRAIN_WINDOW: '0ms',
  })
  await eventually(async () => (await admin.scard('fanfare:members')) === 1, 'the node has announced itself')
  const [id] = await admin.smembers('fanfare:members')
  // The node looks through each of them when it leaves.
  const channels = Array.from({ length: 3_000 }, (_, index) => `room-${index}`)
  await admin.sadd(`fanfare:presence:channels:${id}`, ...channels)
  proxy.latencyMs = 200
  const startMs = performance.now()
  node.child.kill('SIGTERM')
  expect(await node.child.exited).toEqual({ code: 1, signal: null })
  expect(performance.now() - startMs).toBeLessThan(DRAIN_GRACE_MS + 3_000)
  expect(node.child.output).toContain('"msg":"not drained in time"')
  admin.disconnect()
  proxy.remove()
  await redis.remove()
})
