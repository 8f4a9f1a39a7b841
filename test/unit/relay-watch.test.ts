import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createLogger } from '../../src/log.js'
import { Metrics } from '../../src/metrics/metrics.js'
import type { PeerMessage, Peers } from '../../src/node/peers.js'
import { RelayWatch } from '../../src/node/relay-watch.js'

/** A relay whose ways can be cut: to this node, and to Redis. */
class CuttablePeers implements Peers {
  hears = true
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
    if (this.hears && message.type === 'probe') this.watch?.probeReturned(message.sentAtMs)
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
  watch = new RelayWatch(
    'me',
    peers,
    new Metrics('test'),
    log,
    () => readyCalls++,
    () => undefined,
  )
  peers.watch = watch
})
afterEach(() => {
  watch.stop()
  vi.useRealTimers()
})

describe('the relay', () => {
  it('is starting until the first probe is back, however long that takes', async () => {
    peers.isReachable = false
    watch.start()
    await vi.advanceTimersByTimeAsync(60_000)
    expect([watch.state, readyCalls]).toEqual(['starting', 0])
    peers.isReachable = true
    await vi.advanceTimersByTimeAsync(1_000)
    expect([watch.state, readyCalls]).toEqual(['alive', 1])
  })

  it('is alive while probes come back', async () => {
    watch.start()
    for (let second = 0; second < 60; second++) {
      await vi.advanceTimersByTimeAsync(1_000)
      expect(watch.state).toBe('alive')
    }
    expect([readyCalls, peers.reconnections]).toEqual([1, 0])
  })

  it('is lost within 3 s of falling silent for everybody, and stays so', async () => {
    watch.start()
    await vi.advanceTimersByTimeAsync(10_000)
    peers.isReachable = false
    await vi.advanceTimersByTimeAsync(3_000)
    expect(watch.state).toBe('lost')
    await vi.advanceTimersByTimeAsync(60_000)
    expect(watch.state).toBe('lost')
    peers.isReachable = true
    await vi.advanceTimersByTimeAsync(1_000)
    expect([watch.state, readyCalls]).toEqual(['alive', 1])
  })

  it('makes a node deaf that hears nothing while others are alive', async () => {
    peers.nodes = ['me', 'other']
    watch.start()
    await vi.advanceTimersByTimeAsync(10_000)
    peers.hears = false
    await vi.advanceTimersByTimeAsync(3_000)
    expect(watch.state).toBe('lost')
    await vi.advanceTimersByTimeAsync(3_000)
    expect(watch.state).toBe('deaf')
    peers.hears = true
    await vi.advanceTimersByTimeAsync(1_000)
    expect(watch.state).toBe('alive')
  })

  it('never makes a node deaf that is alone', async () => {
    watch.start()
    await vi.advanceTimersByTimeAsync(5_000)
    peers.hears = false
    await vi.advanceTimersByTimeAsync(60_000)
    expect(watch.state).toBe('lost')
  })

  it('does not make a node deaf for the moment in which Redis is back before its probe', async () => {
    peers.nodes = ['me', 'other']
    watch.start()
    await vi.advanceTimersByTimeAsync(5_000)
    peers.isReachable = false
    await vi.advanceTimersByTimeAsync(30_000)
    peers.isReachable = true
    peers.hears = false
    await vi.advanceTimersByTimeAsync(1_500)
    expect(watch.state).toBe('lost')
  })

  it('is connected anew while it is silent, but not all the time', async () => {
    watch.start()
    await vi.advanceTimersByTimeAsync(5_000)
    peers.hears = false
    await vi.advanceTimersByTimeAsync(20_000)
    expect(peers.reconnections).toBeGreaterThanOrEqual(6)
    expect(peers.reconnections).toBeLessThanOrEqual(10)
  })

  it('has as many nodes as were alive when last looked', async () => {
    peers.nodes = ['me', 'two', 'three']
    watch.start()
    await vi.advanceTimersByTimeAsync(0)
    expect(watch.nodes).toBe(3)
    peers.nodes = []
    await vi.advanceTimersByTimeAsync(3_000)
    expect(watch.nodes).toBe(1)
  })

  it('is probed, and told of this node, with the first beat after a stall', async () => {
    watch.start()
    await vi.advanceTimersByTimeAsync(3_900)
    const { announcements } = peers
    const clock = performance.now.bind(performance)
    const stall = vi.spyOn(performance, 'now').mockImplementation(() => clock() + 20_000)
    await vi.advanceTimersByTimeAsync(100)
    stall.mockRestore()
    expect([peers.announcements, watch.state]).toEqual([announcements + 1, 'alive'])
  })

  it('is left alone once the watch is stopped', async () => {
    watch.start()
    watch.stop()
    expect(vi.getTimerCount()).toBe(0)
  })
})
