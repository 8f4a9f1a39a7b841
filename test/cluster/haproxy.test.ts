import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { FanfareProcess } from '../../deploy/local/fanfare-process.js'
import { RedisServer } from '../../deploy/local/redis-server.js'
import { redisArguments } from '../support/deployment.js'
import { HaproxyProcess } from '../support/haproxy-process.js'
import { type ConnectOptions, RawClient, refusalOf } from '../support/raw-client.js'

const TOKEN = 'secret-a'

const clients: RawClient[] = []
const running: { remove(): Promise<unknown> }[] = []
let redis: RedisServer
let nodes: [FanfareProcess, FanfareProcess, FanfareProcess]
let haproxy: HaproxyProcess

async function startNode(settings: Record<string, string> = {}): Promise<FanfareProcess> {
  const node = await FanfareProcess.start({
    ...settings,
    FANFARE_REDIS_URL: redis.url,
    FANFARE_AUTH_TOKENS: `alice=${TOKEN}`,
    FANFARE_API_KEY: 'key',
  })
  running.push({ remove: () => node.child.stop('SIGKILL') })
  return node
}

beforeEach(async () => {
  redis = await RedisServer.start(redisArguments())
  running.push(redis)
  nodes = await Promise.all([startNode(), startNode(), startNode()])
  haproxy = await HaproxyProcess.start(nodes)
  running.push(haproxy)
})

afterEach(async () => {
  for (const { socket } of clients.splice(0)) socket.terminate()
  for (const started of running.splice(0).reverse()) await started.remove()
})

async function connectionsOf(node: FanfareProcess): Promise<number> {
  const value = /^fanfare_connections\{protocol="raw"\} (\d+)$/m.exec(await node.metrics())?.[1]
  return Number(value ?? 0)
}

function connectionsOfAll(): Promise<number[]> {
  return Promise.all(nodes.map(connectionsOf))
}

async function connect(url = `${haproxy.wsUrl}/ws/room`, options: ConnectOptions = { token: TOKEN }) {
  const client = await RawClient.connect(url, options)
  clients.push(client)
  return client
}

async function connectMany(count: number, url?: string): Promise<RawClient[]> {
  return Promise.all(Array.from({ length: count }, () => connect(url)))
}

/** The frames that a client has received, such as `text hello`. */
function framesOf({ frames }: RawClient): string[] {
  return frames.map(({ data, isBinary }) => `${isBinary ? 'binary' : 'text'} ${data.toString()}`)
}

describe('three nodes behind HAProxy with the shipped configuration', () => {
  it('spread clients evenly, which receive each other’s publications, text as text and binary as binary', async () => {
    const connected = await connectMany(6)
    expect(await connectionsOfAll()).toEqual([2, 2, 2])

    for (const [index, client] of connected.entries()) {
      client.send(`text of ${index}`)
      client.send(Buffer.from(`bytes of ${index}`))
    }
    for (const [index, client] of connected.entries()) {
      const others = [...connected.keys()].filter((other) => other !== index)
      const expected = others.flatMap((other) => [`text text of ${other}`, `binary bytes of ${other}`])
      await expect.poll(() => framesOf(client).sort()).toEqual(expected.sort())
    }
  })

  it('publish to the clients of all nodes through any of them', async () => {
    const connected = await connectMany(3)
    const answer = await fetch(`${haproxy.httpUrl}/api/publish`, {
      method: 'POST',
      headers: { 'X-API-Key': 'key', 'Content-Type': 'application/json' },
      body: JSON.stringify({ channel: 'room', data: { hello: 'all' } }),
    })
    expect(answer.status).toBe(200)
    for (const client of connected) expect(await client.nextText()).toBe('{"hello":"all"}')
  })

  it('lose none of the clients of a node that gets SIGTERM: it closes each, which reconnects to another', async () => {
    const [draining] = nodes
    // Past the proxy, so that the drain takes 3 s (100 a second) and HAProxy sees it happen.
    await connectMany(300, `${draining.wsUrl}/ws/room`)
    // leastconn counts only its own connections: two for each node.
    const connected = await connectMany(6)
    const reconnected: Promise<RawClient>[] = []
    const closes: { code: number; reason: string }[] = []
    for (const client of connected) {
      void client.closed.then((close) => {
        closes.push(close)
        // Other codes are of the test's own end.
        if (close.code === 1001) reconnected.push(connect())
      })
    }

    draining.child.kill('SIGTERM')
    await haproxy.child.line(/Server nodes\/node1 is DOWN/)
    const newcomers = await connectMany(6)

    expect(await draining.child.exited, draining.child.output).toEqual({ code: 0, signal: null })
    await expect
      .poll(() => closes)
      .toEqual([
        { code: 1001, reason: 'Going away' },
        { code: 1001, reason: 'Going away' },
      ])
    const open = [...connected, ...newcomers, ...(await Promise.all(reconnected))].filter(
      ({ socket }) => socket.readyState === WebSocket.OPEN,
    )
    expect(open).toHaveLength(12)
    const [, second, third] = nodes
    expect((await connectionsOf(second)) + (await connectionsOf(third))).toBe(12)
  })

  it('answer every publish while two of them are stopped one after the other', async () => {
    for (const { child } of nodes) child.kill('SIGKILL')
    const delayed = await Promise.all([1, 2, 3].map(() => startNode({ FANFARE_DRAIN_DELAY: '8s' })))
    const [first, second, third] = delayed
    if (first === undefined || second === undefined || third === undefined)
      throw new Error('three were started')
    const proxy = await HaproxyProcess.start([first, second, third])
    running.push(proxy)
    const answers = new Map<string, number>()
    let isStopping = true
    const publish = async () => {
      while (isStopping) {
        const outcome = await fetch(`${proxy.httpUrl}/api/publish`, {
          method: 'POST',
          headers: { 'X-API-Key': 'key' },
          body: JSON.stringify({ channel: 'room', data: 1 }),
        }).then(
          async (response) => `${response.status} ${await response.text()}`,
          (error: unknown) => String(error),
        )
        answers.set(outcome, (answers.get(outcome) ?? 0) + 1)
      }
    }
    const publishers = Array.from({ length: 20 }, publish)
    for (const node of [first, second]) {
      node.child.kill('SIGTERM')
      expect(await node.child.exited).toEqual({ code: 0, signal: null })
    }
    isStopping = false
    await Promise.all(publishers)
    expect([...answers.keys()]).toEqual(['200 {"result":{}}\n'])
  })

  it('accept every new connection right after one of them is killed', async () => {
    const connected = await connectMany(6)
    nodes[2].child.kill('SIGKILL')
    await nodes[2].child.exited
    const newcomers = await connectMany(6)
    const [first, second] = nodes
    expect((await connectionsOf(first)) + (await connectionsOf(second))).toBe(4 + newcomers.length)
    const open = () => connected.filter(({ socket }) => socket.readyState === WebSocket.OPEN)
    await expect.poll(open).toHaveLength(4)
  })

  it('all stay in the balancer during an outage of Redis, and keep their clients', async () => {
    const connected: RawClient[] = []
    // At least one on every node: without Redis, a node refuses clients in a channel that it is not subscribed to.
    const connectOneMore = async () => {
      connected.push(await connect())
      return Math.min(...(await connectionsOfAll()))
    }
    await expect.poll(connectOneMore).toBeGreaterThan(0)
    await redis.stop()
    for (const node of nodes) {
      const ready = async () => (await fetch(`${node.internalUrl}/ready`)).json()
      await expect.poll(ready).toMatchObject({ status: 'degraded' })
    }
    connected.push(...(await connectMany(3)))
    await redis.startAgain()
    const [publisher, ...subscribers] = connected
    await expect
      .poll(() => {
        publisher?.send('again')
        return subscribers.every((subscriber) => framesOf(subscriber).includes('text again'))
      })
      .toBe(true)
    expect(haproxy.child.output).not.toMatch(/ is DOWN/)
  })

  it('refuse a wrong token with 401 through the proxy, and log it nowhere', async () => {
    const url = `${haproxy.wsUrl}/ws/room`
    expect(await refusalOf(connect(url, { token: 'wrong-token' }))).toMatchObject({ status: 401 })
    expect(await refusalOf(connect(`${url}?token=wrong-token`, {}))).toMatchObject({ status: 401 })
    await connect(`${url}?token=${TOKEN}`, {})
    await haproxy.child.line(/ 401 .*GET \/ws\/room$/)
    const printed = [haproxy.child, ...nodes.map((node) => node.child)]
      .map((child) => child.output)
      .join('\n')
    expect(printed).not.toMatch(/wrong-token|secret-a/)
  })
})
