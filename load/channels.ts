import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { Redis } from 'ioredis'
import { WebSocket } from 'ws'
import { FanfareProcess } from '../deploy/local/fanfare-process.js'
import { RedisServer } from '../deploy/local/redis-server.js'
import { ensureInstalled } from '../deploy/local/system-packages.js'
import { wholeNumber } from './arguments.js'
import type { Cleanup } from './cleanup.js'
import { EchoClient } from './clients/client-process.js'
import { cpuTimeNs, pin, requireLinux, shareCores } from './process-usage.js'
import { reportRequirements } from './requirements.js'
import { loadSettings } from './servers.js'
import { formatTable } from './table.js'

/** The most time from the restart of Redis until the node has subscribed to all channels again. */
const MAX_SUBSCRIBED_S = 20
/** The most time from then until every subscriber has been told that it has to start over. */
const MAX_TOLD_S = 10
/** How much slower the answers to others may be meanwhile. */
const MAX_SLOWDOWN = 1.5
const CHANNELS_PER_CLIENT = 100
/** Subscriptions that are made at once before the measurement. */
const SUBSCRIBES_AT_ONCE = 2_000
const QUIET_MS = 10_000
/** Time after which a measurement has failed. */
const GIVE_UP_MS = 60_000
/** Clients subscribe again within this time, like those of the SDK. */
const MAX_RESUBSCRIBE_DELAY_MS = 500

const SMOKE = { channels: '2000' }
const FULL = { channels: '100000' }

export const CHANNELS_USAGE = 'channels [--channels 100000] [--smoke]'

let lastCommand = 0

/** Measures what a node with very many channels does after Redis was restarted empty; returns the exit code. */
export async function runChannels(args: string[], cleanup: Cleanup): Promise<number> {
  const { values } = parseArgs({
    args,
    options: { channels: { type: 'string' }, smoke: { type: 'boolean', default: false } },
  })
  const defaults = values.smoke ? SMOKE : FULL
  const channels = wholeNumber('channels', values.channels ?? defaults.channels, 1_000_000)
  requireLinux()
  ensureInstalled(['redis-server'])
  const cores = shareCores()
  const redis = await RedisServer.start()
  cleanup.defer(() => redis.remove())
  const { settings, token } = loadSettings(redis.url)
  const node = await FanfareProcess.start({
    ...settings,
    FANFARE_MAX_CHANNELS_PER_CONNECTION: String(CHANNELS_PER_CLIENT),
    FANFARE_NAMESPACES: JSON.stringify([
      { name: '', history_size: 10, history_ttl: '1h', allow_subscribe_for_client: true },
    ]),
  })
  cleanup.defer(() => node.child.stop())
  pin(node.child.pid, cores.server)
  pin(redis.pid, cores.others)
  pin(process.pid, cores.others)

  console.log(`subscribing to ${channels} channels`)
  const clients = new PositionedClients(node.wsUrl, token)
  cleanup.defer(() => Promise.resolve(clients.close()))
  await clients.subscribe(channels)
  const echo = new EchoClient()
  cleanup.defer(() => echo.stop())
  pin(echo.pid, cores.others)
  await echo.echo(node.wsUrl, { 'X-Auth-Token': token })

  console.log(`quiet for ${QUIET_MS / 1_000} s`)
  const quietCpuNs = cpuTimeNs(node.child.pid)
  await sleep(QUIET_MS)
  const quietShare = (cpuTimeNs(node.child.pid) - quietCpuNs) / 1e6 / QUIET_MS
  const quiet = await echo.takeLatencies()

  console.log('restarting Redis, empty')
  await redis.stop()
  await redis.startAgain()
  pin(redis.pid, cores.others)
  const startMs = performance.now()
  const cpuNs = cpuTimeNs(node.child.pid)
  const observer = new Redis(redis.url)
  cleanup.defer(() => observer.quit())
  for (;;) {
    const subscribed = await subscribedChannels(observer)
    if (subscribed >= channels) break
    if (performance.now() - startMs > GIVE_UP_MS)
      throw new Error(`only ${subscribed} channels are subscribed`)
    await sleep(20)
  }
  const subscribedMs = performance.now() - startMs
  await clients.allTold(GIVE_UP_MS)
  const toldMs = performance.now() - startMs
  const usedMs = (cpuTimeNs(node.child.pid) - cpuNs) / 1e6
  const after = await echo.takeLatencies()
  const slowdown = after.p99Ms / quiet.p99Ms
  const seconds = (ms: number) => (ms / 1_000).toFixed(1)
  console.log(
    `\n${channels} channels, a subscriber with a position in each\n\n${formatTable([
      ['', 'quiet', 'after the restart'],
      ['CPU of the node', `${(quietShare * 100).toFixed(1)} % of a core`, `${seconds(usedMs)} s`],
      ['answers to others, p50', `${quiet.p50Ms.toFixed(1)} ms`, `${after.p50Ms.toFixed(1)} ms`],
      ['answers to others, p99', `${quiet.p99Ms.toFixed(1)} ms`, `${after.p99Ms.toFixed(1)} ms`],
      ['answers to others, longest', `${quiet.longestMs.toFixed(1)} ms`, `${after.longestMs.toFixed(1)} ms`],
      ['subscribed again after', '', `${seconds(subscribedMs)} s`],
      ['all told after', '', `${seconds(toldMs)} s`],
      ['told', '', `${clients.toldCount} of ${channels}`],
    ])}\n`,
  )
  const requirements = [
    {
      text: `all channels are subscribed again within ${MAX_SUBSCRIBED_S} s`,
      isMet: subscribedMs < MAX_SUBSCRIBED_S * 1_000,
      appliesToSmoke: true,
    },
    {
      text: `every subscriber is told within ${MAX_TOLD_S} s of that`,
      isMet: clients.toldCount === channels && toldMs - subscribedMs < MAX_TOLD_S * 1_000,
      appliesToSmoke: true,
    },
    {
      text: `the 99th percentile of others is at most ${MAX_SLOWDOWN} times what it was (${slowdown.toFixed(2)})`,
      isMet: slowdown <= MAX_SLOWDOWN,
      appliesToSmoke: false,
    },
  ]
  return reportRequirements(requirements, values.smoke)
}

function subscribeCommand(channel: string): string {
  return JSON.stringify({ id: ++lastCommand, subscribe: { channel, positioned: true, recoverable: true } })
}

/** The number of Redis channels that somebody is subscribed to. */
async function subscribedChannels(redis: Redis): Promise<number> {
  return Number(/pubsub_channels:(\d+)/.exec(await redis.info('stats'))?.[1])
}

/** Clients of the Centrifuge protocol that follow the streams of their channels. */
class PositionedClients {
  private readonly sockets: WebSocket[] = []
  private readonly told = new Set<string>()
  private answered = 0
  private channelCount = 0
  private isClosing = false
  private onProgress: () => void = () => undefined

  constructor(
    private readonly url: string,
    private readonly token: string,
  ) {}

  get toldCount(): number {
    return this.told.size
  }

  /** Opens as many connections as the channels need, and subscribes to all. */
  async subscribe(channels: number): Promise<void> {
    this.channelCount = channels
    for (let first = 0; first < channels; first += CHANNELS_PER_CLIENT) {
      const last = Math.min(channels, first + CHANNELS_PER_CLIENT)
      const socket = new WebSocket(`${this.url}/connection/websocket`)
      this.sockets.push(socket)
      socket.on('message', (data) => this.receive(socket, String(data)))
      socket.on('close', (code, reason) => {
        if (!this.isClosing) throw new Error(`the node has closed a connection: ${code} ${String(reason)}`)
      })
      await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject))
      const names = Array.from({ length: last - first }, (_, index) => `channel-${first + index}`)
      socket.send(
        [
          JSON.stringify({ id: ++lastCommand, connect: { token: this.token } }),
          ...names.map(subscribeCommand),
        ].join('\n'),
      )
      while (last - this.answered > SUBSCRIBES_AT_ONCE) await this.progress()
    }
    while (this.answered < channels) await this.progress()
  }

  /** Resolves when each subscriber was told that it has to start over, at the latest after so many milliseconds. */
  async allTold(withinMs: number): Promise<void> {
    const deadlineMs = performance.now() + withinMs
    while (this.told.size < this.channelCount && performance.now() < deadlineMs) {
      await Promise.race([this.progress(), sleep(100)])
    }
  }

  close(): void {
    this.isClosing = true
    for (const socket of this.sockets) socket.terminate()
  }

  private progress(): Promise<void> {
    return new Promise((resolve) => {
      this.onProgress = resolve
    })
  }

  private receive(socket: WebSocket, frame: string): void {
    if (frame === '{}') {
      socket.send('{}')
      return
    }
    for (const line of frame.split('\n')) {
      const { error, subscribe, push } = JSON.parse(line)
      if (error !== undefined) throw new Error(`refused: ${line}`)
      if (subscribe !== undefined) this.answered++
      if (push?.unsubscribe !== undefined) {
        this.told.add(push.channel)
        setTimeout(
          () => socket.send(subscribeCommand(push.channel)),
          Math.random() * MAX_RESUBSCRIBE_DELAY_MS,
        )
      }
    }
    this.onProgress()
  }
}
