import { afterEach, expect, it } from 'vitest'
import { parse as parseYaml } from 'yaml'
import { FanfareProcess } from '../../deploy/local/fanfare-process.js'
import { RedisServer } from '../../deploy/local/redis-server.js'
import { API_KEY, callApi } from '../support/api.js'
import { afterThisTest, cleanUp } from '../support/clean-ups.js'
import { redisArguments } from '../support/deployment.js'
import { HaproxyProcess } from '../support/haproxy-process.js'
import { Page } from '../support/page.js'
import { SdkClient } from '../support/sdk-client.js'

afterEach(cleanUp)

/** The namespaces of the operators' handbook. */
const { namespaces } = parseYaml(new Page('deploy/README.md').code('settings-file')) as {
  namespaces: object[]
}
/** More than the publications that a client misses between two nodes. */
const HISTORY_SIZE = 100_000

it('behind the shipped HAProxy configuration, SDK clients miss nothing while a node is drained', async () => {
  const redis = await RedisServer.start(redisArguments())
  afterThisTest(() => redis.remove())
  const startNode = async () => {
    const node = await FanfareProcess.start({
      FANFARE_REDIS_URL: redis.url,
      FANFARE_AUTH_TOKENS: 'alice=secret',
      FANFARE_API_KEY: API_KEY,
      FANFARE_NAMESPACES: JSON.stringify(namespaces.map((one) => ({ ...one, history_size: HISTORY_SIZE }))),
      FANFARE_MAX_HISTORY_PUBLICATIONS: String(HISTORY_SIZE),
      FANFARE_QUEUE_BYTES: '64MiB',
      // Far longer than HAProxy needs to detect the drain.
      FANFARE_DRAIN_DELAY: '8s',
    })
    afterThisTest(() => node.child.stop('SIGKILL'))
    return node
  }
  const nodes = await Promise.all([startNode(), startNode(), startNode()])
  const [draining] = nodes
  const haproxy = await HaproxyProcess.start(nodes)
  afterThisTest(() => haproxy.remove())

  const clients = await Promise.all(
    Array.from({ length: 9 }, () => SdkClient.connect(haproxy.wsUrl, { token: 'secret' })),
  )
  for (const client of clients) afterThisTest(() => client.close())
  const subscriptions = await Promise.all(clients.map((client) => client.subscribe('chat:lobby')))

  let isDraining = true
  void draining.child.exited.then(() => {
    isDraining = false
  })
  draining.child.kill('SIGTERM')
  let published = 0
  while (isDraining) {
    const { body } = await callApi(haproxy, 'publish', { channel: 'chat:lobby', data: published })
    expect(body.error).toBeUndefined()
    published++
  }
  expect(await draining.child.exited).toEqual({ code: 0, signal: null })
  await callApi(haproxy, 'publish', { channel: 'chat:lobby', data: published })

  const all = Array.from({ length: published + 1 }, (_, index) => index)
  for (const subscription of subscriptions) expect(await subscription.data(all.length)).toEqual(all)
  const reconnects = clients.map(({ connecting }) => connecting.items.slice(1).map(({ code }) => code))
  expect(reconnects.filter((codes) => codes.length > 0)).toEqual([[3001], [3001], [3001]])
  const recoveries = subscriptions.flatMap(({ subscribed }) => subscribed.items.slice(1))
  expect(recoveries.map(({ recovered }) => recovered)).toEqual([true, true, true])
})
