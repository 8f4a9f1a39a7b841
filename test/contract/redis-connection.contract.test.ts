import { expect, it } from 'vitest'
import { RedisServer } from '../../deploy/local/redis-server.js'
import { parseRedisAddress } from '../../src/config/redis-address.js'
import { createLogger } from '../../src/log.js'
import { Metrics } from '../../src/metrics/metrics.js'
import { createRedisConnection } from '../../src/redis/redis-connection.js'

it('a connection whose socket reports several errors, as of TLS, is made anew and ends no process', async () => {
  const server = await RedisServer.start()
  const log = createLogger({ level: 'silent', format: 'json' })
  const address = parseRedisAddress(server.url)
  const redis = createRedisConnection(
    { shard: '0', address, certificates: {}, log, metrics: new Metrics('test') },
    'publisher',
  )
  try {
    await redis.connect()
    const { stream } = redis
    const ready = new Promise((resolve) => redis.once('ready', resolve))
    // Without a handler the second one is thrown.
    for (const text of ['first', 'second']) stream.emit('error', new Error(text))
    stream.destroy()
    await ready
    expect(await redis.ping()).toBe('PONG')
  } finally {
    redis.disconnect()
    await server.remove()
  }
})
