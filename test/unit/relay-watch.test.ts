import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createLogger } from '../../src/log.js'
import { Metrics } from '../../src/metrics/metrics.js'
import type { PeerMessage, Peers } from '../../src/node/peers.js'
import { RelayWatch } from '../../src/node/relay-watch.js'

/** A relay that can be cut off from this node, or from Redis. */
class CuttablePeers implements Peers {
  deliversProbes = true
  isReachable = true
  nodes: readonly string[] = ['me']
  reconnections = 0
  announcements = 0
  watch: RelayWatch | undefined

  start(): Promise<void> {
    return Promise.resolve()
  }

  announce(): Promise<boolean> {
    this.announcements++
    return this.isReachable ? Promise.resolve(false) : Promise.reject(new Error('unreachable'))
  }

  aliveNodes(): Promise<readonly string[]> {
    return this.isReachable ? Promise.resolve(this.nodes) : Promise.reject(new Error('unreachable'))
  }

  sendToAll(): Promise<void> {
    return Promise.resolve()
  }

  sendTo(_node: string, message: PeerMessage): Promise<void> {
    if (!this.isReachable) return Promise.reject(new Error('unreachable'))
    if (this.deliversProbes && message.type === 'probe') this.watch?.probeReturned(message.sentAtMs)
    return Promise.resolve()
  }

  leave(): Promise<void> {
    return Promise.resolve()
  }

  reconnect(): void {
    this.reconnections++
  }
}

let peers: CuttablePeers
let watch: RelayWatch
let readyCalls: number

beforeEach(() => {
  vi.useFakeTimers()
  peers = new CuttablePeers()
  readyCalls = 0
  const log = createLogger({ level: 'silent', format: 'json' })
  watch = new RelayWatch({
    node: 'me',
    peers,
    metrics: new Metrics('test'),
    log,
    onReady: () => readyCalls++,
    memberships: [{ membership: peers, onAnnounced: () => undefined }],
  })
  peers.watch = watch
})
afterEach(() => {
  watch.stop()
  vi.useRealTimers()
})

function start(): void {
  watch.start()
  watch.joined()
}

describe('the relay', () => {
  it('is starting until the first probe returns, however long that takes', async () => {
    peers.isReachable = false
    start()
    await vi.advanceTimersByTimeAsync(60_000)
    expect([watch.state, readyCalls]).toEqual(['starting', 0])
    peers.isReachable = true
    await vi.advanceTimersByTimeAsync(1_000)
    expect([watch.state, readyCalls]).toEqual(['ok', 1])
  })

  it('is ok while probes return', async () => {
    start()
    for (let second = 0; second < 60; second++) {
      await vi.advanceTimersByTimeAsync(1_000)
      expect(watch.state).toBe('ok')
    }
    expect([readyCalls, peers.reconnections]).toEqual([1, 0])
  })

  it('is degraded within 3 s after it falls silent for all nodes, and stays so', async () => {
    start()
    await vi.advanceTimersByTimeAsync(10_000)
    peers.isReachable = false
    await vi.advanceTimersByTimeAsync(3_000)
    expect(watch.state).toBe('degraded')
    await vi.advanceTimersByTimeAsync(60_000)
    expect(watch.state).toBe('degraded')
    peers.isReachable = true
    await vi.advanceTimersByTimeAsync(1_000)
    expect([watch.state, readyCalls]).toEqual(['ok', 1])
  })

  it('is deaf for a node that receives nothing while others are alive', async () => {
    peers.nodes = ['me', 'other']
    start()
    await vi.advanceTimersByTimeAsync(10_000)
    peers.deliversProbes = false
    await vi.advanceTimersByTimeAsync(3_000)
    expect(watch.state).toBe('degraded')
    await vi.advanceTimersByTimeAsync(3_000)
    expect(watch.state).toBe('deaf')
    peers.deliversProbes = true
    await vi.advanceTimersByTimeAsync(1_000)
    expect(watch.state).toBe('ok')
  })

  it('is never deaf for a node without others', async () => {
    start()
    await vi.advanceTimersByTimeAsync(5_000)
    peers.deliversProbes = false
    await vi.advanceTimersByTimeAsync(60_000)
    expect(watch.state).toBe('degraded')
  })

  it('is not deaf in the moment between the return of Redis and that of the first probe', async () => {
    peers.nodes = ['me', 'other']
    start()
    await vi.advanceTimersByTimeAsync(5_000)
    peers.isReachable = false
    await vi.advanceTimersByTimeAsync(30_000)
    peers.isReachable = true
    peers.deliversProbes = false
    await vi.advanceTimersByTimeAsync(1_500)
    expect(watch.state).toBe('degraded')
  })

  it('is reconnected while it is silent, at a limited rate', async () => {
    start()
    await vi.advanceTimersByTimeAsync(5_000)
    peers.deliversProbes = false
    await vi.advanceTimersByTimeAsync(20_000)
    expect(peers.reconnections).toBeGreaterThanOrEqual(6)
    expect(peers.reconnections).toBeLessThanOrEqual(10)
  })

  it('counts the nodes that were alive at the last announcement', async () => {
    peers.nodes = ['me', 'two', 'three']
    start()
    await vi.advanceTimersByTimeAsync(0)
    expect(watch.nodeCount).toBe(3)
    peers.nodes = []
    await vi.advanceTimersByTimeAsync(3_000)
    expect(watch.nodeCount).toBe(1)
  })

  it('is probed, and this node announced, with the first tick after a stall', async () => {
    start()
    await vi.advanceTimersByTimeAsync(3_900)
    const { announcements } = peers
    const clock = performance.now.bind(performance)
    const stall = vi.spyOn(performance, 'now').mockImplementation(() => clock() + 20_000)
    await vi.advanceTimersByTimeAsync(100)
    stall.mockRestore()
    expect([peers.announcements, watch.state]).toEqual([announcements + 1, 'ok'])
  })

  it('is not probed once the watch is stopped', async () => {
    start()
    watch.stop()
    expect(vi.getTimerCount()).toBe(0)
  })
})
