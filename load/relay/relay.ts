import { parseArgs } from 'node:util'
import { Redis } from 'ioredis'
import { RedisServer } from '../../deploy/local/redis-server.js'
import { ensureInstalled } from '../../deploy/local/system-packages.js'
import { wholeNumber } from '../arguments.js'
import type { Cleanup } from '../cleanup.js'
import { HelperProcess } from '../clients/helper-process.js'
import { monotonicMs } from '../clients/message.js'
import { reportRequirements } from '../requirements.js'
import { type RelayOptions, type Round, reportRelay, TITLES } from './report.js'
import {
  type PublishedReport,
  type ReceivedReport,
  type RelayReply,
  type RelayRequest,
  TRANSPORTS,
  type Transport,
} from './requests.js'

/** How long processes publish before they are measured, in which V8 compiles what they do. */
const WARM_UP_SECONDS = 1
/** Time from the request to the first publication, so that all nodes begin together. */
const LEAD_MS = 100
/** After the last publication, how long it may take to arrive. */
const ARRIVAL_MS = 10_000

const SMOKE = { rate: '2000', seconds: '1', rounds: '1' }
const FULL = { rate: '20000', seconds: '5', rounds: '10' }

export const RELAY_USAGE =
  'relay [--rate 20000] [--nodes 4] [--channels 20] [--seconds 5] [--rounds 10] [--smoke]'

/** The process of one node, seen from the benchmark. */
class RelayNode extends HelperProcess<RelayRequest, RelayReply> {
  constructor() {
    super(new URL('./node-process.js', import.meta.url))
  }

  async open(request: Omit<Extract<RelayRequest, { kind: 'open' }>, 'kind'>): Promise<void> {
    await this.request({ kind: 'open', ...request })
  }

  async publish(request: Omit<Extract<RelayRequest, { kind: 'publish' }>, 'kind'>): Promise<PublishedReport> {
    const { published } = await this.request({ kind: 'publish', ...request })
    if (published === undefined) throw new Error('no report of publications')
    return published
  }

  async report(count: number, deadlineMs: number): Promise<ReceivedReport> {
    const { received } = await this.request({ kind: 'report', count, deadlineMs })
    if (received === undefined) throw new Error('no report of arrivals')
    return received
  }
}

/** Measures what relaying a publication costs Redis, beside one PUBLISH for each; returns the exit code. */
export async function runRelay(args: string[], cleanup: Cleanup): Promise<number> {
  const options = parseRelayOptions(args)
  ensureInstalled(['redis-server'])
  const redis = await RedisServer.start()
  cleanup.defer(() => redis.remove())
  const observer = new Redis(redis.url)
  cleanup.defer(() => observer.quit())
  const rounds: Record<Transport, Round[]> = { fanfare: [], ioredis: [] }
  for (let round = 0; round < options.rounds; round += 1) {
    // Every second pair runs backwards, so that a machine that gets slower or faster favours neither.
    for (const transport of round % 2 === 0 ? TRANSPORTS : TRANSPORTS.toReversed()) {
      const measured = await measure(transport, { options, redis, observer, cleanup })
      rounds[transport].push(measured)
      const us = measured.redisUs.toFixed(2)
      console.log(
        `${TITLES[transport]}, round ${round + 1} of ${options.rounds}: ${us} µs of Redis a publication`,
      )
    }
  }
  const { text, requirements } = reportRelay(rounds, options)
  console.log(text)
  return reportRequirements(requirements, options.isSmoke)
}

function parseRelayOptions(args: string[]): RelayOptions {
  const { values } = parseArgs({
    args,
    options: {
      rate: { type: 'string' },
      nodes: { type: 'string', default: '4' },
      channels: { type: 'string', default: '20' },
      seconds: { type: 'string' },
      rounds: { type: 'string' },
      smoke: { type: 'boolean', default: false },
    },
  })
  const defaults = values.smoke ? SMOKE : FULL
  return {
    rate: wholeNumber('rate', values.rate ?? defaults.rate, 1_000_000),
    nodes: wholeNumber('nodes', values.nodes, 16),
    channels: Array.from(
      { length: wholeNumber('channels', values.channels, 10_000) },
      (_, index) => `relay-${index}`,
    ),
    seconds: wholeNumber('seconds', values.seconds ?? defaults.seconds, 600),
    rounds: wholeNumber('rounds', values.rounds ?? defaults.rounds, 1000),
    isSmoke: values.smoke,
  }
}

interface Setting {
  options: RelayOptions
  redis: RedisServer
  observer: Redis
  cleanup: Cleanup
}

/** Measures one transport with processes of its own, which end with the round. */
async function measure(transport: Transport, { options, redis, observer, cleanup }: Setting): Promise<Round> {
  const { channels, rate, seconds } = options
  const nodes = Array.from({ length: options.nodes }, () => new RelayNode())
  for (const node of nodes) cleanup.defer(() => node.stop())
  await Promise.all(
    nodes.map((node, index) => node.open({ transport, redisUrl: redis.url, node: index, channels })),
  )
  const ratePerSecond = rate / nodes.length
  const run = async (first: number, ofSeconds: number) => {
    const count = Math.round(ratePerSecond * ofSeconds)
    const startMs = monotonicMs() + LEAD_MS
    const published = await Promise.all(
      nodes.map((node) => node.publish({ first, count, ratePerSecond, startMs })),
    )
    const deadlineMs = monotonicMs() + ARRIVAL_MS
    const received = await Promise.all(nodes.map((node) => node.report(count * nodes.length, deadlineMs)))
    return { count, startMs, published, received }
  }
  const warmedUp = await run(0, WARM_UP_SECONDS)
  const beforeUs = await cpuTimeUs(observer)
  const { count, startMs, published, received } = await run(warmedUp.count, seconds)
  const redisUs = (await cpuTimeUs(observer)) - beforeUs
  await Promise.all(nodes.map((node) => node.stop()))

  const total = count * nodes.length
  const messages = published.reduce((sum, one) => sum + one.messages, 0)
  const cpuUs = published.reduce((sum, one) => sum + one.cpuUs, 0)
  const lastMs = Math.max(...published.map((one) => one.lastMs))
  return {
    redisUs: redisUs / total,
    nodesUs: cpuUs / total,
    packed: total / messages,
    rate: (total * 1000) / (lastMs - startMs),
    isComplete:
      published.every(({ failures }) => failures === 0) &&
      received.every(({ verified, wrong }) => verified === total && wrong === 0),
  }
}

/** CPU time of all threads of Redis so far, user and system. */
async function cpuTimeUs(redis: Redis): Promise<number> {
  const info = await redis.info('cpu')
  const seconds = ['user', 'sys'].map((kind) => {
    const value = new RegExp(`^used_cpu_${kind}:([\\d.]+)`, 'm').exec(info)?.[1]
    if (value === undefined) throw new Error(`INFO cpu has no used_cpu_${kind}`)
    return Number(value)
  })
  return seconds.reduce((sum, value) => sum + value, 0) * 1e6
}
