import { afterEach, expect, it } from 'vitest'
import { parse as parseYaml } from 'yaml'
import { API_KEY, callApi } from '../support/api.js'
import { afterThisTest, cleanUp } from '../support/clean-ups.js'
import { redisArguments } from '../support/deployment.js'
import { FanfareProcess } from '../support/fanfare-process.js'
import { HaproxyProcess } from '../support/haproxy-process.js'
import { Page } from '../support/page.js'
import { RedisServer } from '../support/redis-server.js'
import { SdkClient } from '../support/sdk-client.js'

afterEach(cleanUp)

/** The namespaces that the operators' handbook shows. */
const { namespaces } = parseYaml(new Page('deploy/README.md').code('settings-file')) as {
  namespaces: object[]
}
/** More than is published while a client is between two nodes. */
const KEPT = 100_000

it('behind the shipped HAProxy configuration, SDK clients miss nothing while a node is drained', async () => {
  const redis = await RedisServer.start(redisArguments())
  afterThisTest(() => redis.remove())
  const startNode = async () => {
    const node = await FanfareProcess.start({
      FANFARE_REDIS_URL: redis.url,
      FANFARE_AUTH_TOKENS: 'alice=secret',
      FANFARE_API_KEY: API_KEY,
      FANFARE_NAMESPACES: JSON.stringify(namespaces.map((one) => ({ ...one, history_size: KEPT }))),
      FANFARE_MAX_HISTORY_PUBLICATIONS: String(KEPT),
      FANFARE_QUEUE_BYTES: '64MiB',
      // Far above what HAProxy needs to notice.
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
  const heard = await Promise.all(clients.map((client) => client.subscribe('chat:lobby')))

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
  for (const subscription of heard) expect(await subscription.data(all.length)).toEqual(all)
  const reconnects = clients.map(({ connecting }) => connecting.items.slice(1).map(({ code }) => code))
  expect(reconnects.filter((codes) => codes.length > 0)).toEqual([[3001], [3001], [3001]])
  const recoveries = heard.flatMap(({ subscribed }) => subscribed.items.slice(1))
  expect(recoveries.map(({ recovered }) => recovered)).toEqual([true, true, true])
})
