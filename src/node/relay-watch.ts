import type { Logger } from '../log.js'
import type { Metrics } from '../metrics/metrics.js'
import { ANNOUNCE_INTERVAL_MS, type Peers } from './peers.js'

const PROBE_INTERVAL_MS = 1_000
/** Between two looks at the clock. With each comes one for silence, which is so noticed within 3 s of its beginning. */
const BEAT_MS = 500
/** A probe is expected back within this. */
const PROBE_TIMEOUT_MS = 2_000
/**
 * How long others must have been seen alive while this node hears nothing before it calls itself deaf: after an outage
 * that all shared, Redis answers a moment before the first probe is back, and nodes must not all leave the balancer then.
 */
const DEAF_AFTER_MS = 2_000

/** `deaf`: this node hears nothing while others are fine. `lost`: nobody is known to be fine, as when Redis is down. */
export type RelayState = 'starting' | 'alive' | 'lost' | 'deaf'

/** Watches whether this node hears the cluster: sends itself a probe through the relay, again and again. */
export class RelayWatch {
  state: RelayState = 'starting'
  /** Nodes that were alive when last looked, this one included. */
  nodes = 1
  private lastProbeReturnMs: number
  private lastCheckMs = 0
  private othersFineSinceMs: number | undefined
  private lastReconnectMs = Number.NEGATIVE_INFINITY
  /** One for everything: each timer of its own would wake the process. */
  private timer: NodeJS.Timeout | undefined
  private lastProbeMs = 0
  private lastAnnouncementMs = 0

  constructor(
    private readonly node: string,
    private readonly peers: Peers,
    private readonly metrics: Metrics,
    private readonly log: Logger,
    /** Called when the first probe is back. */
    private readonly onReady: () => void,
    /** Called when this node has said that it is alive, with whether others may have taken it for dead before. */
    private readonly onAnnounced: (hasLapsed: boolean) => void,
  ) {
    this.lastProbeReturnMs = performance.now()
  }

  start(): void {
    this.lastCheckMs = performance.now()
    this.lastAnnouncementMs = this.lastCheckMs
    this.timer = setInterval(() => this.onBeat(), BEAT_MS)
    this.probe()
  }

  stop(): void {
    clearInterval(this.timer)
  }

  /** How long nothing has been heard. */
  get silenceMs(): number {
    return performance.now() - this.lastProbeReturnMs
  }

  /** A probe came back, which carries when it was sent by this process' clock. */
  probeReturned(sentAtMs: number): void {
    this.lastProbeReturnMs = performance.now()
    this.metrics.relayProbe.observe(Math.max(0, this.lastProbeReturnMs - sentAtMs) / 1_000)
    this.othersFineSinceMs = undefined
    this.setState('alive')
  }

  /** By the clock: after beats that were late, as on a busy node, nothing is put off. */
  private onBeat(): void {
    if (isDue(this.lastProbeMs, PROBE_INTERVAL_MS)) this.probe()
    this.check()
    if (isDue(this.lastAnnouncementMs, ANNOUNCE_INTERVAL_MS)) this.announce()
  }

  private probe(): void {
    this.lastProbeMs = performance.now()
    // That a probe can't be sent shows in its not coming back.
    this.peers.sendTo(this.node, { type: 'probe', sentAtMs: this.lastProbeMs }).catch(() => undefined)
  }

  private check(): void {
    const nowMs = performance.now()
    // What came while this process stood still has not been read yet, so that time is no silence.
    this.lastProbeReturnMs += Math.max(0, nowMs - this.lastCheckMs - 2 * BEAT_MS)
    this.lastCheckMs = nowMs
    if (this.silenceMs <= PROBE_TIMEOUT_MS) return
    if (nowMs - this.lastReconnectMs > PROBE_TIMEOUT_MS) {
      this.lastReconnectMs = nowMs
      this.peers.reconnect()
    }
    if (this.state === 'starting') return
    if (this.state === 'alive') this.setState('lost')
    void this.peers
      .aliveNodes()
      .then((nodes) => nodes.some((node) => node !== this.node))
      .catch(() => false)
      .then((areOthersFine) => this.judgeSilence(areOthersFine))
  }

  private judgeSilence(areOthersFine: boolean): void {
    const nowMs = performance.now()
    if (!areOthersFine) this.othersFineSinceMs = undefined
    else this.othersFineSinceMs ??= nowMs
    if (this.silenceMs <= PROBE_TIMEOUT_MS) return
    const isDeaf = this.othersFineSinceMs !== undefined && nowMs - this.othersFineSinceMs > DEAF_AFTER_MS
    this.setState(isDeaf ? 'deaf' : 'lost')
  }

  private announce(): void {
    this.lastAnnouncementMs = performance.now()
    this.peers
      .announce()
      .then((hasLapsed) => {
        this.onAnnounced(hasLapsed)
        return this.peers.aliveNodes()
      })
      .then((nodes) => {
        this.nodes = Math.max(1, nodes.length)
      })
      // Silence of the relay is what counts, and the probe finds it.
      .catch(() => undefined)
  }

  private setState(state: RelayState): void {
    if (state === this.state) return
    const before = this.state
    this.state = state
    if (before === 'starting') {
      this.announce()
      this.onReady()
    } else if (state === 'alive') this.log.info({}, 'the relay is back')
    else if (state === 'deaf')
      this.log.error({}, 'this node does not hear the relay while other nodes are alive')
    else
      this.log.warn(
        { silenceMs: Math.round(this.silenceMs) },
        'the relay is silent; established connections stay',
      )
  }
}

/** Whether the beat that is nearest to the time has come. */
function isDue(lastMs: number, intervalMs: number): boolean {
  return performance.now() - lastMs >= intervalMs - BEAT_MS / 2
}
