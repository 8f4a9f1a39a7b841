import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Child } from '../../deploy/local/child-process.js'
import { FanfareProcess, runFanfare } from '../../deploy/local/fanfare-process.js'
import { RedisServer } from '../../deploy/local/redis-server.js'

const TOKEN = 'token-of-the-operators'

/** The documented delay, less a millisecond by which a timer may be early. */
const RECONNECT_DELAY_MS = 3_000 - 1

let redis: RedisServer
let nodes: FanfareProcess[]

function startNode(port?: number): Promise<FanfareProcess> {
  return FanfareProcess.start({
    FANFARE_REDIS_URL: redis.url,
    FANFARE_AUTH_TOKENS: `ops=${TOKEN}`,
    ...(port !== undefined && { FANFARE_PORT: String(port) }),
  })
}

function node(index: number): FanfareProcess {
  const found = nodes[index]
  if (found === undefined) throw new Error(`no node ${index}`)
  return found
}

function startMonitor(url: string, ...flags: string[]): Child {
  return runFanfare(['monitor', url, '--token', TOKEN, '--report', '500ms', ...flags])
}

/** The line that a monitor prints for the report of another one. */
function reportFrom(monitor: Child, form: 'text' | 'binary'): RegExp {
  return new RegExp(
    `report from \\S+:${monitor.pid} \\(${form}\\): cpu [\\d.]+ %, memory [\\d.]+ of [\\d.]+ GiB`,
  )
}

beforeAll(async () => {
  redis = await RedisServer.start()
  nodes = await Promise.all([startNode(), startNode(), startNode()])
})

afterAll(async () => {
  await Promise.all((nodes ?? []).map(({ child }) => child.stop('SIGKILL')))
  await redis?.remove()
})

describe('monitors on different nodes', () => {
  let textMonitor: Child
  let binaryMonitor: Child

  beforeAll(async () => {
    textMonitor = startMonitor(node(0).wsUrl, '--channel', 'machines')
    binaryMonitor = startMonitor(`${node(1).wsUrl}/ws/machines`, '--binary')
    await Promise.all([textMonitor.line(/connected/), binaryMonitor.line(/connected/)])
  })

  afterAll(async () => {
    await Promise.all([textMonitor?.stop('SIGKILL'), binaryMonitor?.stop('SIGKILL')])
  })

  it('print the reports of each other, as text and as binary, and not their own', async () => {
    await Promise.all([
      textMonitor.line(reportFrom(binaryMonitor, 'binary')),
      binaryMonitor.line(reportFrom(textMonitor, 'text')),
    ])
    expect(textMonitor.output).not.toMatch(reportFrom(textMonitor, 'text'))
    expect(binaryMonitor.output).not.toMatch(reportFrom(binaryMonitor, 'binary'))
  })

  it('survive a node killed with kill -9, print it, and reconnect after its restart', async () => {
    const killed = node(0)
    const lost = textMonitor.nextLine(/closed: code 1006.*; reconnecting in 3 s/)
    // Taken before the loss, since a line may be read later than it was written.
    const killedAt = performance.now()
    killed.child.kill('SIGKILL')
    await lost
    await textMonitor.nextLine(/refused: .*ECONNREFUSED.*; reconnecting in 3 s/)
    expect(performance.now() - killedAt).toBeGreaterThanOrEqual(RECONNECT_DELAY_MS)

    const reconnected = textMonitor.nextLine(/connected/)
    nodes[0] = await startNode(killed.port)
    await reconnected
    await Promise.all([
      textMonitor.nextLine(reportFrom(binaryMonitor, 'binary')),
      binaryMonitor.nextLine(reportFrom(textMonitor, 'text')),
    ])
  })

  it('end with exit code 0 when interrupted, and never printed their token', async () => {
    expect(await textMonitor.stop('SIGINT')).toEqual({ code: 0, signal: null })
    expect(await binaryMonitor.stop('SIGTERM')).toEqual({ code: 0, signal: null })
    expect(textMonitor.output + binaryMonitor.output).not.toContain(TOKEN)
  })
})

describe('a monitor', () => {
  it('prints why its token is not accepted, and tries again', async () => {
    const monitor = runFanfare(['monitor', node(2).wsUrl, '--token', 'wrong'])
    await monitor.line(/unauthorized: HTTP 401 Unauthorized.*; reconnecting in 3 s/)
    expect(await monitor.stop('SIGINT')).toEqual({ code: 0, signal: null })
  })

  it('prints the code and the reason with which a stopping node closes it', async () => {
    const stopping = await startNode()
    const monitor = startMonitor(stopping.wsUrl)
    await monitor.line(/connected/)
    const [line] = await Promise.all([monitor.line(/closed/), stopping.child.stop('SIGTERM')])
    expect(line).toMatch(/closed: code 1001, reason: Going away; reconnecting in 3 s/)
    await monitor.stop('SIGINT')
  })

  it('refuses a bad address at once with one line and exit code 2', async () => {
    const monitor = runFanfare(['monitor', 'http://127.0.0.1:8000', '--token', TOKEN])
    expect(await monitor.exited).toEqual({ code: 2, signal: null })
    expect(monitor.lines).toHaveLength(1)
    expect(monitor.output).toContain('bad address http://127.0.0.1:8000')
  })
})
