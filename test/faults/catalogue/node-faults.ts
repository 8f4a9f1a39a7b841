import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { RawClient, Refused } from '../../support/raw-client.js'
import { sign } from '../../support/signed-tokens.js'
import type { Fault, FaultContext } from '../fault.js'
import type { FaultNode } from '../fault-node.js'
import { chosen } from './choices.js'
import { watchSubscribing } from './subscribing-connections.js'

const FREEZE_MS = 20_000
const STALL_MS = 10_000
/** Publications while a node stalls: 5,000 a second on 50 channels, where the machine can. */
const STALL_ROUNDS = 1_000
const STALL_CHANNELS = 50
const STALL_ROUNDS_PER_SECOND = 100
/** How long a node that is told to stop goes on: longer than HAProxy takes to notice that it is not ready. */
const DRAIN_DELAY_MS = 2_500
/** Longer than HAProxy takes to use a node that is back. */
const BETWEEN_NODES_MS = 3_000
const CLOCK_JUMP_MS = 4_000
const HOUR_S = 3_600
const UNAUTHORIZED = 401

/** What happens to the processes of nodes. */
export const NODE_FAULTS: readonly Fault[] = [
  {
    name: 'node-crash',
    summary: 'A node is killed (SIGKILL) and started again later.',
    topologies: ['one', 'sentinel', 'cluster', 'several'],
    epochs: 'kept',
    history: 'kept',
    lastsMs: 4_000,
    bars: { publishSilenceMs: 5_000, hearSilenceMs: 10_000 },
    inject: async ({ nodes, random, acknowledged, shape }) => {
      const node = chosen(nodes, random)
      await node.stop('SIGKILL')
      await acknowledged(shape.before)
      await node.startAgain()
    },
  },
  {
    name: 'node-freeze',
    summary: 'A node is frozen (SIGSTOP) for 20 s, longer than its lease.',
    topologies: ['one', 'cluster', 'several'],
    epochs: 'kept',
    history: 'kept',
    lastsMs: FREEZE_MS,
    bars: { hearSilenceMs: FREEZE_MS + 10_000 },
    inject: async ({ nodes, random, last }) => {
      const node = chosen(nodes, random)
      node.freeze()
      await last(FREEZE_MS)
      node.resume()
    },
  },
  {
    name: 'node-stall',
    summary:
      'A node stalls for 10 s while 50,000 publications pass on 50 channels, and Redis cuts it off for what it leaves unread.',
    topologies: ['one'],
    epochs: 'kept',
    history: 'kept',
    lastsMs: STALL_MS + 20_000,
    // Most of it is the time that a busy machine takes to publish so much.
    bars: { hearSilenceMs: 60_000 },
    shape: {
      channels: STALL_CHANNELS,
      steady: 3,
      churning: 1,
      resubscribing: 1,
      raw: 0,
      before: 100,
      publications: 500,
      publicationsPerSecond: 50,
    },
    redisArgs: ['--client-output-buffer-limit', 'pubsub 2mb 1mb 3'],
    inject: stall,
  },
  {
    name: 'rolling-deploy',
    summary: 'Each node in turn is stopped (SIGTERM) and started again, behind HAProxy.',
    topologies: ['one'],
    epochs: 'kept',
    history: 'kept',
    lastsMs: 30_000,
    bars: { publishSilenceMs: 3_000, hearSilenceMs: 6_000, ready: ['draining'] },
    settings: { FANFARE_DRAIN_DELAY: `${DRAIN_DELAY_MS}ms` },
    isBalanced: true,
    inject: deploy,
  },
  {
    name: 'reconnect-storm',
    summary: 'Two of three nodes are killed, and the 600 clients that they had connect to the third at once.',
    topologies: ['one'],
    epochs: 'kept',
    history: 'kept',
    lastsMs: 15_000,
    bars: { hearSilenceMs: 30_000 },
    shape: {
      channels: 2,
      steady: 900,
      churning: 0,
      resubscribing: 0,
      raw: 0,
      before: 40,
      publications: 160,
      publicationsPerSecond: 20,
    },
    inject: async ({ nodes, attempted, shape, until, steady }) => {
      const killed = nodes.slice(1)
      await Promise.all(killed.map((node) => node.stop('SIGKILL')))
      await attempted(shape.before)
      await until(() => steady.every(({ isSubscribed }) => isSubscribed), 'every client is back')
      await Promise.all(killed.map((node) => node.startAgain()))
    },
  },
  {
    name: 'clock-jump',
    summary: 'The clock of all nodes jumps an hour ahead, and then an hour behind.',
    topologies: ['one'],
    epochs: 'kept',
    history: 'kept',
    lastsMs: 2 * CLOCK_JUMP_MS,
    bars: { isUnnoticed: true },
    missing: () =>
      fakeTimeLibrary() === undefined ? 'libfaketime is not installed (Debian: faketime)' : undefined,
    prepare: (cleanup) => {
      const directory = mkdtempSync(join(tmpdir(), 'fanfare-clock-'))
      cleanup.defer(() => Promise.resolve(rmSync(directory, { recursive: true })))
      const file = join(directory, 'offset')
      writeFileSync(file, '+0')
      return {
        LD_PRELOAD: fakeTimeLibrary() ?? '',
        FAKETIME_TIMESTAMP_FILE: file,
        FAKETIME_CACHE_DURATION: '1',
        // A jump of the wall clock leaves this one alone, as an operating system does.
        FAKETIME_DONT_FAKE_MONOTONIC: '1',
      }
    },
    inject: async ({ nodes, last, until }) => {
      const [node] = nodes
      if (node === undefined) return
      const nowS = Math.floor(Date.now() / 1_000)
      const soon = sign({ sub: 'early', exp: nowS + HOUR_S / 2 })
      const later = sign({ sub: 'late', nbf: nowS - HOUR_S / 2 })
      writeFileSync(node.settings['FAKETIME_TIMESTAMP_FILE'] ?? '', `+${HOUR_S}`)
      await until(() => isRefused(node, soon), 'a token of the next half hour has expired')
      await last(CLOCK_JUMP_MS)
      writeFileSync(node.settings['FAKETIME_TIMESTAMP_FILE'] ?? '', `-${HOUR_S}`)
      await until(() => isRefused(node, later), 'a token of the last half hour is not valid yet')
      await last(CLOCK_JUMP_MS)
    },
  },
]

async function stall({ nodes, redis, publishEverywhere, last, until }: FaultContext): Promise<void> {
  const [node, ...others] = nodes
  const isCutOff = await watchSubscribing(redis)
  node?.freeze()
  const beganMs = performance.now()
  for (let round = 0; round < STALL_ROUNDS; round++) {
    await publishEverywhere(chosen(others, () => (round % others.length) / others.length))
    const aheadMs = (1_000 * round) / STALL_ROUNDS_PER_SECOND - (performance.now() - beganMs)
    if (aheadMs > 0) await last(aheadMs)
  }
  await last(Math.max(0, STALL_MS - (performance.now() - beganMs)))
  await until(isCutOff, 'Redis has cut the node off')
  node?.resume()
}

async function deploy({ nodes, steady, acknowledged, last, fail, shape }: FaultContext): Promise<void> {
  for (const node of nodes) {
    await acknowledged(shape.before)
    const { code, signal } = await node.stop('SIGTERM')
    if (code !== 0) fail(`${node.name} ended with ${signal ?? `code ${code}`} instead of 0`)
    await node.startAgain()
    await last(BETWEEN_NODES_MS)
  }
  for (const { name, lost } of steady) {
    // Once for each node that is stopped: a node that is back gets new connections slowly.
    if (lost.length > nodes.length) fail(`${name} lost its connection ${lost.length} times`)
    const forbidden = lost.filter((code) => code >= 3_500 && code < 4_000)
    if (forbidden.length > 0) fail(`${name} was told not to come back: ${forbidden.join(', ')}`)
  }
}

/** Whether a node, by its own clock, refuses a token. */
async function isRefused(node: FaultNode, token: string): Promise<boolean> {
  try {
    const client = await RawClient.connect(`${node.wsUrl}/echo`, { token })
    client.close()
    return false
  } catch (error) {
    if (error instanceof Refused) return error.status === UNAUTHORIZED
    throw error
  }
}

function fakeTimeLibrary(): string | undefined {
  const libraries = existsSync('/usr/lib') ? readdirSync('/usr/lib') : []
  return libraries
    .map((name) => `/usr/lib/${name}/faketime/libfaketimeMT.so.1`)
    .find((path) => existsSync(path))
}
