import { setTimeout as sleep } from 'node:timers/promises'
import type { RemoteKeys } from '../auth/remote-keys.js'
import type { Broker } from '../broker/broker.js'
import { ConnectionControl, type ControlResult } from '../connection/connection-control.js'
import type { ConnectionSlots } from '../connection/connection-slots.js'
import type { Connections } from '../connection/connections.js'
import type { TimerWheel } from '../connection/timer-wheel.js'
import { errorMessage } from '../error-message.js'
import type { Hub } from '../hub/hub.js'
import type { Logger } from '../log.js'
import type { Metrics } from '../metrics/metrics.js'
import type { PresenceAnnouncer } from '../presence/presence-announcer.js'
import type { PresenceKeeper } from '../presence/presence-keeper.js'
import type { RedisReason } from '../redis/redis-errors.js'
import type { ListenOptions, Transport } from '../transport/transport.js'
import { closeConnections } from './drain.js'
import type { ControlQuestion, Membership, Peers, Question, ReceivedMessage } from './peers.js'
import { type RelayState, RelayWatch } from './relay-watch.js'
import {
  type ChannelList,
  channelList,
  controlResult,
  listChannels,
  type NodeInfo,
  nodeInfo,
} from './survey-answers.js'
import { type SurveyResult, Surveys } from './surveys.js'

/** Time that a drain may take beyond its delay and window, leaving the cluster included, before it counts as failed. */
const DRAIN_GRACE_MS = 10_000
/** Time between the starts of two attempts to join the cluster: an attempt may fail at once. */
const JOIN_INTERVAL_MS = 1_000
/** Time for clients to read the last close frames, and for the last leaves to reach Redis. */
const CLOSE_FLUSH_MS = 200

export interface NodeOptions {
  readonly id: string
  readonly version: string
  readonly publicListener: ListenOptions
  readonly drainDelayMs: number
  readonly drainWindowMs: number
}

export type ReasonsByShard = Readonly<Record<string, readonly RedisReason[]>>

/** What a node needs of the relay beside sending and receiving. */
export interface NodeRelay {
  /** Whether there are several Redis, or the servers of a Redis Cluster. */
  readonly hasShards: boolean
  /** Reasons why Redis cannot do all that this node needs, by shard. Shards without one are left out. */
  reasons(): ReasonsByShard
  close(): void
}

/** A place in which this node announces itself, for those who share it. */
export interface NodeMembership {
  readonly membership: Membership
  /** Keeps the presence that is shared there; undefined where none is shared. */
  readonly presenceKeeper: PresenceKeeper | undefined
}

export interface NodeParts {
  readonly connections: Connections
  readonly hub: Hub
  readonly slots: ConnectionSlots
  readonly wheel: TimerWheel
  readonly broker: Broker
  readonly peers: Peers
  readonly presenceAnnouncer: PresenceAnnouncer
  /** Where this node announces itself: as many places as there are Redis, the first of which is `peers`. */
  readonly memberships: readonly NodeMembership[]
  /** Keys of an issuer, before which no client can connect with its tokens. Undefined where no issuer is configured. */
  readonly remoteKeys: RemoteKeys | undefined
  readonly publicTransport: Transport
  readonly metrics: Metrics
  readonly log: Logger
  /** The connections to Redis that broker, peers and presence use. */
  readonly relay: NodeRelay
  /** Called once, with the public port, when the first probe has returned and the issuer's keys are loaded. */
  readonly ready: (port: number) => void
}

/** `degraded` is also the state of a node that receives what it relays, but is refused something else by Redis. */
export type ReadyState = RelayState | 'draining'

/** Why a node is not `ok`, as `/ready` names it. `worker_silent` is only of several workers together. */
export type ReadyReason =
  | RedisReason
  | 'relay_silent'
  | 'issuer_keys_missing'
  | 'node_stopping'
  | 'worker_silent'

/** The answer to a readiness check. */
export interface Readiness {
  readonly status: ReadyState
  /** Why it is not `ok`. */
  readonly reasons: readonly ReadyReason[]
  /** Those that concern one of several Redis, or one server of a Redis Cluster, by its shard. */
  readonly shards?: ReasonsByShard
  /** Milliseconds since this node last received one of its probes through the relay. */
  readonly relaySilenceMs: number
}

/** One node, from its start to the end of its drain. */
export class Node {
  readonly surveys: Surveys
  private readonly relayWatch: RelayWatch
  private readonly control: ConnectionControl
  private readonly startedMs = performance.now()
  private isDraining = false
  private hasStopped = false
  /** Whether an issuer's keys are not loaded yet, so that clients cannot connect with its tokens. */
  private awaitsKeys: boolean
  private port = 0

  constructor(
    private readonly options: NodeOptions,
    private readonly parts: NodeParts,
  ) {
    const { peers, presenceAnnouncer, memberships, metrics, log, connections, hub, remoteKeys } = parts
    this.awaitsKeys = remoteKeys !== undefined
    this.control = new ConnectionControl(connections, log)
    this.surveys = new Surveys(
      options.id,
      peers,
      (question) => this.answer(question),
      (refusal) => log.warn(refusal, 'another node refused a question'),
    )
    this.relayWatch = new RelayWatch({
      node: options.id,
      peers,
      metrics,
      log,
      onReady: () => void this.becomeReady(),
      memberships: memberships.map(({ membership, presenceKeeper }) => ({
        membership,
        onAnnounced: (mayHaveLapsed) => presenceKeeper?.nodeAnnounced(mayHaveLapsed),
      })),
    })
    metrics.registerScrapeTimeGauges({
      backpressureBytes: () => {
        let bytes = 0
        for (const { socket } of connections) bytes += socket?.bufferedBytes() ?? 0
        return bytes
      },
      channels: () => hub.channelCount,
      nodes: () => this.relayWatch.nodeCount,
      pendingPresence: () => presenceAnnouncer.pendingCount,
    })
  }

  /** Listens, then joins the cluster in the background. Resolves with the port. Rejects when the port is taken. */
  async start(): Promise<number> {
    const { publicListener } = this.options
    const { publicTransport, broker, hub, wheel, remoteKeys } = this.parts
    this.port = await publicTransport.listen(publicListener)
    wheel.start()
    hub.start()
    broker.start(hub)
    remoteKeys?.start()
    this.relayWatch.start()
    void this.joinCluster()
    return this.port
  }

  readiness(): Readiness {
    const { state, silenceMs } = this.relayWatch
    const reasons: ReadyReason[] = []
    if (this.isDraining) reasons.push('node_stopping')
    if (this.awaitsKeys) reasons.push('issuer_keys_missing')
    if (state !== 'ok') reasons.push('relay_silent')
    const { relay } = this.parts
    const shards = relay.reasons()
    reasons.push(...[...new Set(Object.values(shards).flat())].sort())
    return {
      status: this.status(reasons.length > 0),
      reasons,
      ...(relay.hasShards && { shards }),
      relaySilenceMs: silenceMs,
    }
  }

  private status(hasReasons: boolean): ReadyState {
    if (this.isDraining) return 'draining'
    if (this.awaitsKeys) return 'starting'
    const { state } = this.relayWatch
    return state === 'ok' && hasReasons ? 'degraded' : state
  }

  /** Asks every live node for its description. Rejects with a BrokerError within 2 s. */
  info(): Promise<SurveyResult<NodeInfo>> {
    return this.surveys.ask({ about: 'info' }, nodeInfo)
  }

  /** Asks every live node for its channels that match the pattern. Rejects with a BrokerError within 2 s. */
  channels(pattern: string): Promise<SurveyResult<ChannelList>> {
    return this.surveys.ask({ about: 'channels', pattern }, channelList)
  }

  /** Has every live node apply an operation to its connections. Rejects with a BrokerError within 2 s. */
  controlConnections(question: ControlQuestion): Promise<SurveyResult<ControlResult>> {
    return this.surveys.ask(question, controlResult)
  }

  /**
   * Stops gracefully: turns not ready, waits until the load balancer has noticed, refuses new connections, closes all
   * connections over the window and leaves the cluster. Resolves with whether that was done in time.
   */
  async drain(): Promise<boolean> {
    const { drainDelayMs, drainWindowMs } = this.options
    const { connections, slots, presenceAnnouncer, publicTransport, metrics, log } = this.parts
    this.isDraining = true
    metrics.draining.set(1)
    log.info({ connections: connections.count }, 'draining')
    if (drainDelayMs > 0) await sleep(drainDelayMs)
    slots.close()
    publicTransport.stopListening()
    const isInTime = await isDoneWithin(drainWindowMs + DRAIN_GRACE_MS, this.closeAndLeave())
    if (!isInTime) {
      const facts = { connections: connections.count, pendingPresence: presenceAnnouncer.pendingCount }
      log.warn(facts, 'not drained in time')
    }
    return isInTime
  }

  /** Stops at once, without closing connections gracefully. */
  stop(): void {
    this.hasStopped = true
    const { hub, wheel, publicTransport, relay, remoteKeys } = this.parts
    this.relayWatch.stop()
    hub.stop()
    wheel.stop()
    remoteKeys?.stop()
    publicTransport.close()
    relay.close()
  }

  /** Closes all connections over the window, finishes the HTTP requests in progress, and leaves the cluster. */
  private async closeAndLeave(): Promise<void> {
    const { connections, slots, publicTransport } = this.parts
    const hadConnections = connections.count > 0
    const requests = publicTransport.finishRequests()
    await Promise.all([
      closeConnections(connections, this.options.drainWindowMs),
      slots.whenEmpty(),
      requests,
    ])
    if (hadConnections) await sleep(CLOSE_FLUSH_MS)
    await this.leaveCluster()
  }

  /** Logs a failure and resolves all the same: the other nodes sweep what this one could not remove. */
  private async leaveCluster(): Promise<void> {
    const { memberships, presenceAnnouncer, log } = this.parts
    await presenceAnnouncer.settled()
    const leaveOne = async ({ membership, presenceKeeper }: NodeMembership) => {
      await presenceKeeper?.removeOwnClients()
      // After the presence, since no node sweeps the presence of a node that has left.
      await membership.leave()
    }
    for (const outcome of await Promise.allSettled(memberships.map(leaveOne))) {
      if (outcome.status === 'fulfilled') continue
      log.warn({ error: errorMessage(outcome.reason) }, 'the cluster could not be told that this node stops')
    }
  }

  /** Called once the relay works. Calls `ready` when the issuer's keys are loaded too. */
  private async becomeReady(): Promise<void> {
    const { remoteKeys, ready } = this.parts
    await remoteKeys?.loaded
    this.awaitsKeys = false
    if (!this.hasStopped) ready(this.port)
  }

  private async joinCluster(): Promise<void> {
    const { peers, log } = this.parts
    while (!this.hasStopped) {
      const nextAttempt = sleep(JOIN_INTERVAL_MS, undefined, { ref: false })
      try {
        await peers.start((message) => this.receive(message))
        this.relayWatch.joined()
        return
      } catch (error) {
        const message = errorMessage(error)
        log.warn({ error: message }, 'not ready: the relay cannot be reached')
        await nextAttempt
      }
    }
  }

  private receive(message: ReceivedMessage): void {
    const { relayUnknown } = this.parts.metrics
    if (message.type === 'probe') {
      this.relayWatch.probeReturned(message.sentAtMs)
      return
    }
    if (message.type === 'unknown') {
      relayUnknown.message.value++
      return
    }
    if (message.type === 'unknown-question') relayUnknown.question.value++
    this.surveys.handle(message).catch((error: unknown) => {
      // The node that asked counts this one as missing.
      this.parts.log.warn({ err: error }, 'a question of another node was not answered')
    })
  }

  private answer(question: Question): NodeInfo | ChannelList | ControlResult | Promise<ControlResult> {
    switch (question.about) {
      case 'info':
        return this.ownInfo()
      case 'channels':
        return listChannels(this.parts.hub.channelSizes(), question.pattern)
      case 'subscribe':
        return this.control.subscribe(question.to, question.channel, question.options)
      case 'unsubscribe':
        return this.control.unsubscribe(question.to, question.channel)
      case 'disconnect':
        return this.control.disconnect(question.to, question.close, question.whitelist)
      case 'message':
        return this.control.message(question.to, question.data)
      case 'refresh':
        return this.control.refresh(question.to, question.expiresAtMs)
    }
  }

  private ownInfo(): NodeInfo {
    const { connections, hub } = this.parts
    return {
      uid: this.options.id,
      name: `${this.options.publicListener.host}:${this.port}`,
      version: this.options.version,
      num_clients: connections.count,
      num_channels: hub.channelCount,
      uptime: Math.round((performance.now() - this.startedMs) / 1_000),
    }
  }
}

/** Resolves with whether the promise resolves within this time. Rejects as it does. */
async function isDoneWithin(timeMs: number, promise: Promise<unknown>): Promise<boolean> {
  const timeout = new AbortController()
  const late = sleep(timeMs, false, { signal: timeout.signal }).catch(() => false)
  const isInTime = await Promise.race([promise.then(() => true), late])
  timeout.abort()
  return isInTime
}
