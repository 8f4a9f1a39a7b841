import { Redis } from 'ioredis'
import { expect, it } from 'vitest'
import { runFanfare } from '../../deploy/local/fanfare-process.js'
import { freePort } from '../../deploy/local/free-port.js'
import { RedisServer } from '../../deploy/local/redis-server.js'

it('a node that Redis refuses to subscribe logs it, and becomes ready once it may', async () => {
  const redis = await RedisServer.start()
  const admin = new Redis(redis.url)
  await admin.acl('SETUSER', 'limited', 'on', '>password', '~fanfare:*', 'resetchannels', '+@all')
  const internalPort = await freePort()
  const node = runFanfare(['serve'], {
    FANFARE_REDIS_URL: `redis://limited:password@127.0.0.1:${redis.port}`,
    FANFARE_AUTH_TOKENS: 'secret',
    FANFARE_PORT: '0',
    FANFARE_INTERNAL_PORT: String(internalPort),
    FANFARE_LOG_FORMAT: 'json',
  })
  const ready = async () => (await fetch(`http://127.0.0.1:${internalPort}/ready`)).status
  const attempt = /"error":"Redis refused the subscription: NOPERM.*"msg":"not ready: /
  await node.line(attempt)
  expect(await ready()).toBe(503)
  await node.nextLine(attempt)
  // By the clock of the node, it does not try in a busy loop.
  const times = node.lines
    .filter((line) => attempt.test(line))
    .map((line) => Date.parse((JSON.parse(line) as { time: string }).time))
  expect((times[1] ?? 0) - (times[0] ?? 0)).toBeGreaterThan(500)

  await admin.acl('SETUSER', 'limited', '&fanfare:*')
  await node.line(/"msg":"ready"/)
  expect(await ready()).toBe(200)
  expect(await node.stop()).toEqual({ code: 0, signal: null })
  admin.disconnect()
  await redis.remove()
})
