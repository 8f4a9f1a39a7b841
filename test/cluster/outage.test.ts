import { connect } from 'node:net'
import { Redis } from 'ioredis'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { FanfareProcess, runFanfare } from '../../deploy/local/fanfare-process.js'
import { freePort } from '../../deploy/local/free-port.js'
import { RedisServer } from '../../deploy/local/redis-server.js'
import { callApi } from '../support/api.js'
import { Cluster } from '../support/cluster.js'
import { eventually } from '../support/metric.js'
import { RawClient, refusalOf } from '../support/raw-client.js'

describe('a cluster whose Redis fails', () => {
  let cluster: Cluster
  beforeEach(async () => {
    cluster = await Cluster.start()
  })
  afterEach(() => cluster.stop())

  const publish = (data: unknown) => callApi(cluster.nodes[0], 'publish', { channel: 'feed', data })
  const ready = async (node: FanfareProcess) => {
    const response = await fetch(`${node.internalUrl}/ready`)
    return `${response.status} ${((await response.json()) as { status: string }).status}`
  }

  it('keeps every client, rejects publishes with a clear error, logs it, and delivers again without a restart', async () => {
    const clients = await Promise.all([0, 1, 2].map((node) => cluster.open(node as 0 | 1 | 2, '/ws/feed')))
    let isAnyClosed = false
    for (const client of clients) {
      void client.closed.then(() => {
        isAnyClosed = true
      })
    }
    await cluster.redis.stop()
    const logged = cluster.nodes[0].child.nextLine(/the relay is silent/)
    const failed = await publish('lost')
    expect(failed).toMatchObject({ status: 200, body: { error: { code: 100, temporary: true } } })
    expect(failed.body.error?.message).toContain('Redis cannot be reached')
    await logged
    for (const node of cluster.nodes) {
      await eventually(
        async () => (await ready(node)) === '200 degraded',
        '/ready answers that the node is degraded',
      )
    }
    // Clients can join a channel that the node is subscribed to; a new channel needs Redis.
    await cluster.open(1, '/ws/feed')
    expect(await refusalOf(cluster.open(1, '/ws/new'))).toMatchObject({ status: 503 })

    await cluster.redis.startAgain()
    for (const node of cluster.nodes) {
      await eventually(async () => (await ready(node)) === '200 ok', '/ready answers that the outage is over')
    }
    expect((await publish('found')).body).toEqual({ result: {} })
    for (const client of clients) expect(await client.nextText()).toBe('"found"')
    expect(isAnyClosed).toBe(false)
  })

  it('never accepts a publication while Redis is frozen', async () => {
    const subscriber = await cluster.open(1, '/ws/feed')
    cluster.redis.freeze()
    const { body } = await publish('lost')
    expect(body.error?.message).toContain('it may have been published or not')
    expect((await publish('lost')).body.error?.code).toBe(100)
    cluster.redis.resume()
    // A node that reconnects before the others publishes what they do not receive yet, so the test publishes repeatedly.
    await eventually(async () => {
      await publish('found')
      return subscriber.frames.some(({ data }) => data.toString() === '"found"')
    }, 'delivery works again')
  })

  it('takes only the node out of the balancer that alone receives no publications', async () => {
    const redis = new Redis(cluster.redis.url)
    // A Redis user with only the permissions that Fanfare needs, until it may not subscribe any longer.
    await redis.acl(
      'SETUSER',
      'limited',
      'on',
      '>password',
      '~fanfare:*',
      '&fanfare:*',
      '+@all',
      '-@dangerous',
      '+info',
    )
    const deaf = await FanfareProcess.start({
      FANFARE_REDIS_URL: `redis://limited:password@127.0.0.1:${cluster.redis.port}`,
      FANFARE_AUTH_TOKENS: 'secret',
    })
    expect(await ready(deaf)).toBe('200 ok')
    await redis.acl('SETUSER', 'limited', 'resetchannels')
    await eventually(async () => (await ready(deaf)) === '503 deaf', '/ready answers that the node is deaf')
    for (const node of cluster.nodes) expect(await ready(node)).toBe('200 ok')
    await redis.acl('SETUSER', 'limited', '&fanfare:*')
    await eventually(async () => (await ready(deaf)) === '200 ok', 'the node receives publications again')
    redis.disconnect()
    expect(await deaf.child.stop()).toEqual({ code: 0, signal: null })
  })
})

describe('a client that disconnects while its node waits for Redis', () => {
  it('frees its connection slot', async () => {
    const redis = await RedisServer.start()
    const node = await FanfareProcess.start({
      FANFARE_REDIS_URL: redis.url,
      FANFARE_AUTH_TOKENS: 'secret',
      FANFARE_MAX_CONNECTIONS: '1',
    })
    redis.freeze()
    const socket = connect(node.port, '127.0.0.1')
    const url = `${node.wsUrl}/ws/room`
    const attempt = RawClient.connect(url, { token: 'secret', createConnection: () => socket })
    await new Promise((resolve) => socket.once('connect', resolve))
    // Once this one is refused, the node has received the attempt before it.
    await eventually(async () => {
      const refusal = await refusalOf(RawClient.connect(`${node.wsUrl}/echo`, { token: 'secret' }))
      return refusal.body.includes('as many connections as it may')
    }, 'the only slot is taken')
    socket.destroy()
    await expect(attempt).rejects.toThrow()
    redis.resume()
    await eventually(async () => {
      const client = await RawClient.connect(`${node.wsUrl}/echo`, { token: 'secret' }).catch(() => undefined)
      client?.close()
      return client !== undefined
    }, 'the slot is free again')
    await node.child.stop()
    await redis.remove()
  })
})

describe('a node whose Redis does not run at its start', () => {
  it('logs it, is not ready, and becomes ready once Redis runs', async () => {
    const redis = await RedisServer.start()
    await redis.stop()
    const internalPort = await freePort()
    const node = runFanfare(['serve'], {
      FANFARE_REDIS_URL: redis.url,
      FANFARE_AUTH_TOKENS: 'secret',
      FANFARE_PORT: '0',
      FANFARE_INTERNAL_PORT: String(internalPort),
      FANFARE_LOG_FORMAT: 'json',
    })
    await node.line(/Redis cannot be reached; trying again until it can/)
    await node.line(/not ready: the relay cannot be reached/)
    const response = await fetch(`http://127.0.0.1:${internalPort}/ready`)
    expect(response.status).toBe(503)
    expect(await response.json()).toMatchObject({
      status: 'starting',
      reasons: expect.arrayContaining(['relay_silent']),
    })
    await redis.startAgain()
    await node.line(/"msg":"ready"/)
    expect(node.output).not.toMatch(/^\s+at /m)
    expect(await node.stop()).toEqual({ code: 0, signal: null })
    await redis.remove()
  })
})
