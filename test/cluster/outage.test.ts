import { connect } from 'node:net'
import { Redis } from 'ioredis'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { callApi } from '../support/api.js'
import { Cluster } from '../support/cluster.js'
import { FanfareProcess, runFanfare } from '../support/fanfare-process.js'
import { freePort } from '../support/free-port.js'
import { eventually } from '../support/metric.js'
import { RawClient, refusalOf } from '../support/raw-client.js'
import { RedisServer } from '../support/redis-server.js'

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

  it('keeps every client, fails publishes clearly, says so, and delivers again without a restart', async () => {
    const clients = await Promise.all([0, 1, 2].map((node) => cluster.open(node as 0 | 1 | 2, '/ws/feed')))
    let isAnyClosed = false
    for (const client of clients) {
      void client.closed.then(() => {
        isAnyClosed = true
      })
    }
    await cluster.redis.stop()
    const toldInLog = cluster.nodes[0].child.nextLine(/the relay is silent/)
    const failed = await publish('lost')
    expect(failed).toMatchObject({ status: 200, body: { error: { code: 100, temporary: true } } })
    expect(failed.body.error?.message).toContain('Redis cannot be reached')
    await toldInLog
    for (const node of cluster.nodes) {
      await eventually(async () => (await ready(node)) === '200 degraded', 'readiness tells of the outage')
    }
    // A channel that the node hears already can be joined; a new one can't be promised anything.
    await cluster.open(1, '/ws/feed')
    expect(await refusalOf(cluster.open(1, '/ws/new'))).toMatchObject({ status: 503 })

    await cluster.redis.startAgain()
    for (const node of cluster.nodes) {
      await eventually(async () => (await ready(node)) === '200 ok', 'readiness tells that it is over')
    }
    expect((await publish('found')).body).toEqual({ result: {} })
    for (const client of clients) expect(await client.nextText()).toBe('"found"')
    expect(isAnyClosed).toBe(false)
  })

  it('never says that a publication was taken while Redis is frozen', async () => {
    const listener = await cluster.open(1, '/ws/feed')
    cluster.redis.freeze()
    const { body } = await publish('lost')
    expect(body.error?.message).toContain('it may have been published or not')
    expect((await publish('lost')).body.error?.code).toBe(100)
    cluster.redis.resume()
    // A node that is back before the others publishes what they don't hear yet, hence again and again.
    await eventually(async () => {
      await publish('found')
      return listener.frames.some(({ data }) => data.toString() === '"found"')
    }, 'delivery works again')
  })

  it('takes a node that alone cannot hear out of the balancer, and no other', async () => {
    const redis = new Redis(cluster.redis.url)
    // A user of Redis that may do what Fanfare needs and no more, until it may not subscribe any longer.
    await redis.acl(
      'SETUSER',
      'limited',
      'on',
      '>password',
      '~fanfare:*',
      '&fanfare:*',
      '+@all',
      '-@dangerous',
    )
    const deaf = await FanfareProcess.start({
      FANFARE_REDIS_URL: `redis://limited:password@127.0.0.1:${cluster.redis.port}`,
      FANFARE_AUTH_TOKENS: 'secret',
    })
    expect(await ready(deaf)).toBe('200 ok')
    await redis.acl('SETUSER', 'limited', 'resetchannels')
    await eventually(async () => (await ready(deaf)) === '503 deaf', 'the node calls itself deaf')
    for (const node of cluster.nodes) expect(await ready(node)).toBe('200 ok')
    await redis.acl('SETUSER', 'limited', '&fanfare:*')
    await eventually(async () => (await ready(deaf)) === '200 ok', 'the node hears again')
    redis.disconnect()
    expect(await deaf.child.stop()).toEqual({ code: 0, signal: null })
  })
})

describe('a client that goes away while its node waits for Redis', () => {
  it('gives its place back', async () => {
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
    // Once this is refused, the node has the attempt before it.
    await eventually(async () => {
      const refusal = await refusalOf(RawClient.connect(`${node.wsUrl}/echo`, { token: 'secret' }))
      return refusal.body.includes('as many connections as it may')
    }, 'the only place is taken')
    socket.destroy()
    await expect(attempt).rejects.toThrow()
    redis.resume()
    await eventually(async () => {
      const client = await RawClient.connect(`${node.wsUrl}/echo`, { token: 'secret' }).catch(() => undefined)
      client?.close()
      return client !== undefined
    }, 'the place is free again')
    await node.child.stop()
    await redis.remove()
  })
})

describe('a node whose Redis is not there at the start', () => {
  it('says so, is not ready, and becomes ready once it is', async () => {
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
    expect(await response.json()).toEqual({ status: 'starting' })
    await redis.startAgain()
    await node.line(/"msg":"ready"/)
    expect(node.output).not.toMatch(/^\s+at /m)
    expect(await node.stop()).toEqual({ code: 0, signal: null })
    await redis.remove()
  })
})
