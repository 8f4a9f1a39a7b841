import type { Logger } from '../log.js'
import type { Metrics } from '../metrics/metrics.js'
import { ANNOUNCE_INTERVAL_MS, type Membership, type Peers } from './peers.js'

const PROBE_INTERVAL_MS = 1_000
/** Time between two ticks, each of which checks for silence: so silence is noticed within 3 s of its beginning. */
const TICK_MS = 500
/** Time within which a probe is expected to return; a longer silence means that the relay does not reach this node. */
const PROBE_TIMEOUT_MS = 2_000
/**
 * How long other nodes must have been alive during the silence before this node is deaf. After an outage of Redis, Redis
 * answers a moment before the first probe returns, and nodes must not all leave the load balancer then.
 */
const DEAF_AFTER_MS = 2_000

/**
 * `starting`: no probe has returned yet. `ok`: probes return. `degraded`: probes do not return, and other nodes are not
 * known to be alive, as when Redis is down. `deaf`: probes do not return though other nodes have been alive for a while.
 */
export type RelayState = 'starting' | 'ok' | 'degraded' | 'deaf'

/** A place in which this node announces itself. */
export interface AnnouncedMembership {
  readonly membership: Membership
  /** Called after each announcement, with whether other nodes may have taken this one for dead before. */
  readonly onAnnounced: (mayHaveLapsed: boolean) => void
}

export interface RelayWatchOptions {
  /** Id of this node. */
  readonly node: string
  readonly peers: Peers
  readonly memberships: readonly AnnouncedMembership[]
  readonly metrics: Metrics
  readonly log: Logger
  /** Called once, when the first probe has returned. */
  readonly onReady: () => void
}

/** Watches whether the relay reaches this node, by sending probes through it to this node; and announces this node. */
export class RelayWatch {
  state: RelayState = 'starting'
  /** Number of nodes that were alive at the last announcement, this one included. */
  nodeCount = 1
  /** When a probe last returned, moved on by the time for which this process stalled. */
  private lastProbeReturnMs: number
  private lastCheckMs = 0
  /** Since when other nodes were alive during the current silence; undefined while none is known to be. */
  private othersAliveSinceMs: number | undefined
  private lastReconnectMs = Number.NEGATIVE_INFINITY
  /** One timer for probes, checks and announcements, since each timer would wake an idle process. */
  private timer: NodeJS.Timeout | undefined
  private hasJoined = false
  private lastProbeMs = 0
  private lastAnnouncementMs = 0

  constructor(private readonly options: RelayWatchOptions) {
    this.lastProbeReturnMs = performance.now()
  }

  /** Announces this node where no messages are needed for that: clients of several Redis may come before the first is up. */
  start(): void {
    this.timer = setInterval(() => this.tick(), TICK_MS)
  }

  /** To be called when this node receives messages: it sends probes from now on, and announces itself everywhere. */
  joined(): void {
    this.hasJoined = true
    this.lastCheckMs = performance.now()
    this.lastAnnouncementMs = this.lastCheckMs
    this.sendProbe()
  }

  stop(): void {
    clearInterval(this.timer)
  }

  /** Milliseconds since a probe last returned; not counting stalls of this process. */
  get silenceMs(): number {
    return performance.now() - this.lastProbeReturnMs
  }

  /** To be called with each probe that returns, which carries the time of this process' clock at which it was sent. */
  probeReturned(sentAtMs: number): void {
    this.lastProbeReturnMs = performance.now()
    this.options.metrics.relayProbe.observe(Math.max(0, this.lastProbeReturnMs - sentAtMs) / 1_000)
    this.othersAliveSinceMs = undefined
    this.setState('ok')
  }

  /** Does what is due by the clock, so that late ticks, as on a busy node, put nothing off. */
  private tick(): void {
    if (this.hasJoined) {
      if (isDue(this.lastProbeMs, PROBE_INTERVAL_MS)) this.sendProbe()
      this.checkSilence()
    }
    if (isDue(this.lastAnnouncementMs, ANNOUNCE_INTERVAL_MS)) this.announce()
  }

  private sendProbe(): void {
    this.lastProbeMs = performance.now()
    const { node, peers } = this.options
    // A probe that could not be sent does not return, which `checkSilence` notices.
    peers.sendTo(node, { type: 'probe', sentAtMs: this.lastProbeMs }).catch(() => undefined)
  }

  private checkSilence(): void {
    const { node, peers } = this.options
    const nowMs = performance.now()
    // A stall of this process is not silence: a probe that arrived during it has not been read yet.
    this.lastProbeReturnMs += Math.max(0, nowMs - this.lastCheckMs - 2 * TICK_MS)
    this.lastCheckMs = nowMs
    if (this.silenceMs <= PROBE_TIMEOUT_MS) return
    if (nowMs - this.lastReconnectMs > PROBE_TIMEOUT_MS) {
      this.lastReconnectMs = nowMs
      peers.reconnect()
    }
    if (this.state === 'starting') return
    if (this.state === 'ok') this.setState('degraded')
    void peers
      .aliveNodes()
      .then((nodes) => nodes.some((other) => other !== node))
      .catch(() => false)
      .then((areOthersAlive) => this.updateSilentState(areOthersAlive))
  }

  /** Sets `deaf` or `degraded`, unless a probe has returned meanwhile. */
  private updateSilentState(areOthersAlive: boolean): void {
    const nowMs = performance.now()
    if (!areOthersAlive) this.othersAliveSinceMs = undefined
    else this.othersAliveSinceMs ??= nowMs
    if (this.silenceMs <= PROBE_TIMEOUT_MS) return
    const isDeaf = this.othersAliveSinceMs !== undefined && nowMs - this.othersAliveSinceMs > DEAF_AFTER_MS
    this.setState(isDeaf ? 'deaf' : 'degraded')
  }

  private announce(): void {
    this.lastAnnouncementMs = performance.now()
    // What Redis refuses shows in readiness and in the log by itself: see RedisHealth.
    for (const one of this.options.memberships) {
      if (this.hasJoined || one.membership !== this.options.peers) this.announceIn(one).catch(() => undefined)
    }
  }

  private async announceIn({ membership, onAnnounced }: AnnouncedMembership): Promise<void> {
    const { peers } = this.options
    onAnnounced(await membership.announce())
    if (membership === peers) this.nodeCount = Math.max(1, (await peers.aliveNodes()).length)
  }

  private setState(state: RelayState): void {
    if (state === this.state) return
    const { log, onReady } = this.options
    const before = this.state
    this.state = state
    if (before === 'starting') {
      this.announce()
      onReady()
    } else if (state === 'ok') log.info({}, 'the relay is back')
    else if (state === 'deaf')
      log.error({}, 'this node receives nothing from the relay while other nodes are alive')
    else
      log.warn({ silenceMs: Math.round(this.silenceMs) }, 'the relay is silent; established connections stay')
  }
}

/** Whether the interval is over, or will be over sooner than half a tick from now. */
function isDue(lastMs: number, intervalMs: number): boolean {
  return performance.now() - lastMs >= intervalMs - TICK_MS / 2
}
