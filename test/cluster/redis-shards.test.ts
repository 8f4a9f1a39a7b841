import { afterEach, describe, expect, it } from 'vitest'
import { FanfareProcess } from '../../deploy/local/fanfare-process.js'
import { RedisServer } from '../../deploy/local/redis-server.js'
import { ClusterTopology } from '../contract/redis-topologies.js'
import { API_KEY, callApi } from '../support/api.js'
import { afterThisTest, cleanUp } from '../support/clean-ups.js'
import { eventually, metric } from '../support/metric.js'
import { RawClient } from '../support/raw-client.js'
import { SdkClient } from '../support/sdk-client.js'

interface Shards {
  readonly url: string
  /** The labels of all shards, one of which can be killed. */
  readonly labels: readonly string[]
  readonly killable: { readonly label: string; readonly server: RedisServer }
}

async function independentRedis(): Promise<Shards> {
  const servers = await Promise.all([RedisServer.start(), RedisServer.start()])
  afterThisTest(() => Promise.all(servers.map((server) => server.remove())))
  const url = servers.map((server) => server.url).join(',')
  return { url, labels: ['0', '1'], killable: { label: '1', server: servers[1] } }
}

async function redisCluster(): Promise<Shards> {
  const redis = await ClusterTopology.start()
  afterThisTest(() => redis.remove())
  const labels = redis.masters.map(({ port }) => `127.0.0.1:${port}`)
  // The master that does not have what concerns nodes: that is in the slot of {nodes}, one of the second third.
  const [, , server] = redis.masters
  if (server === undefined) throw new Error('no master')
  return { url: redis.url, labels, killable: { label: labels[2] ?? '', server } }
}

async function startNode(redisUrl: string): Promise<FanfareProcess> {
  const node = await FanfareProcess.start({
    FANFARE_REDIS_URL: redisUrl,
    FANFARE_AUTH_TOKENS: 'ann=secret',
    FANFARE_API_KEY: API_KEY,
    FANFARE_NAMESPACES: JSON.stringify([
      {
        name: '',
        history_size: 10,
        history_ttl: '1m',
        presence: true,
        allow_subscribe_for_client: true,
        allow_presence_for_subscriber: true,
      },
    ]),
  })
  afterThisTest(() => node.child.stop())
  return node
}

async function readyOf({ internalUrl }: FanfareProcess): Promise<Record<string, unknown>> {
  return (await (await fetch(`${internalUrl}/ready`)).json()) as Record<string, unknown>
}

afterEach(cleanUp)

describe.each([
  ['two independent Redis', independentRedis],
  ['a Redis Cluster', redisCluster],
] as const)('nodes with %s', (_, startShards) => {
  it('are one cluster in every channel, with history and presence', async () => {
    const { url, labels } = await startShards()
    const [one, two] = await Promise.all([startNode(url), startNode(url)])
    const channels = Array.from({ length: 12 }, (_, index) => `room${index}`)
    const raws = await Promise.all(
      channels.map((channel) => RawClient.connect(`${one.wsUrl}/ws/${channel}`, { token: 'secret' })),
    )
    const sdk = await SdkClient.connect(two.wsUrl, { token: 'secret' })
    afterThisTest(() => sdk.close())
    for (const [index, channel] of channels.entries()) {
      await sdk.subscribe(channel)
      expect((await callApi(two, 'publish', { channel, data: index })).body).toHaveProperty('result')
      expect(await raws[index]?.nextText()).toBe(String(index))
      const { body } = await callApi(one, 'history', { channel, limit: 5 })
      expect(body.result).toMatchObject({ publications: [{ data: index, offset: 1 }] })
      // Clients are added to presence after their subscription is answered.
      const clientCount = async () => {
        const { body } = await callApi(one, 'presence_stats', { channel })
        return (body.result as { readonly num_clients: number }).num_clients
      }
      await eventually(async () => (await clientCount()) === 2, 'both clients are present')
    }
    expect((await callApi(one, 'info', {})).body.result).toMatchObject({ nodes: [{}, {}] })
    expect((await callApi(one, 'channels', {})).body.result).toMatchObject({ channels: { room0: {} } })
    const exposition = await one.metrics()
    for (const shard of labels) {
      expect(metric(exposition, 'fanfare_redis_up', `{shard="${shard}",role="publisher"}`)).toBe(1)
      expect(metric(exposition, 'fanfare_redis_up', `{shard="${shard}",role="subscriber"}`)).toBe(1)
    }
    for (const raw of raws) raw.close()
  })

  it('say which shard is out, and heal when it is back', async () => {
    const { url, killable } = await startShards()
    const node = await startNode(url)
    await killable.server.stop()
    await eventually(async () => 'shards' in (await readyOf(node)), '/ready names the shard')
    expect(await readyOf(node)).toMatchObject({
      status: 'degraded',
      reasons: ['redis_unreachable'],
      shards: { [killable.label]: ['redis_unreachable'] },
    })
    await killable.server.startAgain()
    await eventually(async () => (await readyOf(node))['status'] === 'ok', '/ready says ok')
  })
})
