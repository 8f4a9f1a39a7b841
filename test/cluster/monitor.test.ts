import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Child } from '../support/child-process.js'
import { FanfareProcess, runFanfare } from '../support/fanfare-process.js'
import { RedisServer } from '../support/redis-server.js'

const TOKEN = 'token-of-the-operators'

/** The brief's, of which a timer may take a millisecond off. */
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

/** A line that a monitor prints of what another reports. */
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
  let speaksText: Child
  let speaksBinary: Child

  beforeAll(async () => {
    speaksText = startMonitor(node(0).wsUrl, '--channel', 'machines')
    speaksBinary = startMonitor(`${node(1).wsUrl}/ws/machines`, '--binary')
    await Promise.all([speaksText.line(/connected/), speaksBinary.line(/connected/)])
  })

  afterAll(async () => {
    await Promise.all([speaksText?.stop('SIGKILL'), speaksBinary?.stop('SIGKILL')])
  })

  it('print what the other reports, as text and as binary, and nothing of their own', async () => {
    await Promise.all([
      speaksText.line(reportFrom(speaksBinary, 'binary')),
      speaksBinary.line(reportFrom(speaksText, 'text')),
    ])
    expect(speaksText.output).not.toMatch(reportFrom(speaksText, 'text'))
    expect(speaksBinary.output).not.toMatch(reportFrom(speaksBinary, 'binary'))
  })

  it('survive a node killed with kill -9, say so, and come back after it is', async () => {
    const killed = node(0)
    const lost = speaksText.nextLine(/closed: code 1006.*; reconnecting in 3 s/)
    // From before it is lost: a line may be read later than it was written.
    const killedAt = performance.now()
    killed.child.kill('SIGKILL')
    await lost
    await speaksText.nextLine(/refused: .*ECONNREFUSED.*; reconnecting in 3 s/)
    expect(performance.now() - killedAt).toBeGreaterThanOrEqual(RECONNECT_DELAY_MS)

    const back = speaksText.nextLine(/connected/)
    nodes[0] = await startNode(killed.port)
    await back
    await Promise.all([
      speaksText.nextLine(reportFrom(speaksBinary, 'binary')),
      speaksBinary.nextLine(reportFrom(speaksText, 'text')),
    ])
  })

  it('end with exit code 0 when interrupted, and never printed their token', async () => {
    expect(await speaksText.stop('SIGINT')).toEqual({ code: 0, signal: null })
    expect(await speaksBinary.stop('SIGTERM')).toEqual({ code: 0, signal: null })
    expect(speaksText.output + speaksBinary.output).not.toContain(TOKEN)
  })
})

describe('a monitor', () => {
  it('is told why its token is not accepted, and goes on trying', async () => {
    const monitor = runFanfare(['monitor', node(2).wsUrl, '--token', 'wrong'])
    await monitor.line(/unauthorized: HTTP 401 Unauthorized.*; reconnecting in 3 s/)
    expect(await monitor.stop('SIGINT')).toEqual({ code: 0, signal: null })
  })

  it('names the code and the reason with which a node that stops closes it', async () => {
    const stopping = await startNode()
    const monitor = startMonitor(stopping.wsUrl)
    await monitor.line(/connected/)
    const [line] = await Promise.all([monitor.line(/closed/), stopping.child.stop('SIGTERM')])
    expect(line).toMatch(/closed: code 1001, reason: Going away; reconnecting in 3 s/)
    await monitor.stop('SIGINT')
  })

  it('refuses a bad address at once, in one line, with exit code 2', async () => {
    const monitor = runFanfare(['monitor', 'http://127.0.0.1:8000', '--token', TOKEN])
    expect(await monitor.exited).toEqual({ code: 2, signal: null })
    expect(monitor.lines).toHaveLength(1)
    expect(monitor.output).toContain('bad address http://127.0.0.1:8000')
  })
})
