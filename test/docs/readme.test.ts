import { afterEach, describe, expect, it } from 'vitest'
import { FanfareProcess, runFanfare } from '../../deploy/local/fanfare-process.js'
import { freePort } from '../../deploy/local/free-port.js'
import { RedisServer } from '../../deploy/local/redis-server.js'
import { afterThisTest, cleanUp } from '../support/clean-ups.js'
import { at, exampleSettings, runJavaScript, runShell, startExampleNode } from '../support/examples.js'
import { Page } from '../support/page.js'
import { RawClient } from '../support/raw-client.js'
import { SdkClient } from '../support/sdk-client.js'

afterEach(cleanUp)

const page = new Page('README.md')

describe('the README', () => {
  it('has the output of the first run', async () => {
    const node = runFanfare([], {
      FANFARE_PORT: '0',
      FANFARE_INTERNAL_PORT: '0',
      FANFARE_LOG_FORMAT: 'json',
    })
    afterThisTest(() => node.stop())
    const ready = JSON.parse(await node.line(/"msg":"ready"/)) as { port: number; internalPort: number }
    await node.line(/curl/)
    const printed = node.output
      .replaceAll(`:${ready.port}`, ':8000')
      .replaceAll(`:${ready.internalPort}`, ':9000')
      .replace(/(X-Auth-Token|X-API-Key): [\w-]+/g, '$1: …')
    const shown = /^```\n([\s\S]*?)```\n$/.exec(page.section('first-run'))?.[1] ?? ''
    for (const command of ['npx wscat', 'curl']) expect(shown, page.where('first-run')).toContain(command)
    expect(printed, page.where('first-run')).toContain(shown.trim())
  })

  it('has complete settings for the examples, without a warning', async () => {
    const node = await startExampleNode()
    expect(node.child.output, page.where('examples-node')).not.toContain('"level":"warn"')
  })

  it('has a client with the SDK that works', async () => {
    const node = await startExampleNode()
    const subscriber = await RawClient.connect(`${node.wsUrl}/ws/room`, { token: 'change-me' })
    const client = runJavaScript(node, page.code('sdk'))
    expect(await subscriber.nextText()).toBe('{"text":"hello from the SDK"}')
    await client.line(/\{ text: 'hello from the SDK' \}/)
    subscriber.send('hello back')
    await client.line(/hello back/)
  })

  it('has a raw client that works', async () => {
    const node = await startExampleNode()
    const subscriber = await RawClient.connect(`${node.wsUrl}/ws/room`, { token: 'change-me' })
    const client = runJavaScript(node, page.code('raw'))
    expect(await subscriber.nextText()).toBe('hello from a raw client')
    subscriber.send('hello back')
    await client.line(/hello back/)
  })

  it('has a publish request of a backend that works', async () => {
    const node = await startExampleNode()
    const subscriber = await SdkClient.connect(node.wsUrl, { token: 'change-me' })
    afterThisTest(() => subscriber.close())
    const room = await subscriber.subscribe('room')
    await runShell(at(node, page.code('publish'))).line(/"result"/)
    expect(await room.data(1)).toEqual([{ text: 'hello from a backend' }])
  })

  it('starts nodes by hand that form a cluster', async () => {
    const redis = await RedisServer.start()
    afterThisTest(() => redis.remove())
    const lines = page.code('cluster').trim().split('\n')
    const nodes = await Promise.all(lines.map((line) => startNodeOf(line, redis.url)))
    const [first, ...others] = await Promise.all(
      nodes.map((node) => RawClient.connect(`${node.wsUrl}/ws/room`, { token: 'change-me' })),
    )
    first?.send('to all')
    expect(others.length).toBeGreaterThan(0)
    for (const other of others) expect(await other.nextText()).toBe('to all')
  })
})

/** Starts a node with the flags of a line `npm start -- …`, this Redis and free ports. */
async function startNodeOf(line: string, redisUrl: string): Promise<FanfareProcess> {
  const [, flags] = /^npm start -- (.*)$/.exec(line) ?? []
  if (flags === undefined) throw new Error(`${page.where('cluster')}: not a start of a node: ${line}`)
  const [port, internalPort] = [await freePort(), await freePort()]
  const given = flags
    .replace('redis://127.0.0.1:6379', redisUrl)
    .replace(/--port \d+/, `--port ${port}`)
    .replace(/--internal-port \d+/, `--internal-port ${internalPort}`)
  const ports = { FANFARE_PORT: String(port), FANFARE_INTERNAL_PORT: String(internalPort) }
  const node = await FanfareProcess.start({ ...exampleSettings(), ...ports }, { flags: given.split(' ') })
  afterThisTest(() => node.child.stop())
  return node
}
