import { expect, it } from 'vitest'
import { FanfareProcess } from '../support/fanfare-process.js'
import { eventually } from '../support/metric.js'
import { RawClient, refusalOf } from '../support/raw-client.js'
import { RedisServer } from '../support/redis-server.js'

it('a node that is stopped while a client waits for a frozen Redis refuses it and ends in time', async () => {
  const redis = await RedisServer.start()
  const node = await FanfareProcess.start({
    FANFARE_REDIS_URL: redis.url,
    FANFARE_AUTH_TOKENS: 'secret',
    FANFARE_MAX_CONNECTIONS: '1',
  })
  redis.freeze()
  const refused = refusalOf(RawClient.connect(`${node.wsUrl}/ws/room`, { token: 'secret' }))
  // Once this is refused, the node has the attempt before it.
  await eventually(async () => {
    const client = await RawClient.connect(`${node.wsUrl}/echo`, { token: 'secret' }).catch(() => undefined)
    client?.close()
    return client === undefined
  }, 'the only place is taken')
  const startMs = performance.now()
  node.child.kill('SIGTERM')
  const refusal = await refused
  expect(refusal.status).toBe(503)
  expect(refusal.headers['retry-after']).toMatch(/^[1-5]$/)
  expect(await node.child.exited).toEqual({ code: 0, signal: null })
  // Two deadlines of Redis: the channel's, and that of the node's farewell.
  expect(performance.now() - startMs).toBeLessThan(5_000)
  redis.resume()
  await redis.remove()
})
