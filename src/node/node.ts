import { setTimeout as sleep } from 'node:timers/promises'
import type { RemoteKeys } from '../auth/remote-keys.js'
import type { Broker } from '../broker/broker.js'
import { ConnectionControl, type ControlResult } from '../connection/connection-control.js'
import type { ConnectionSlots } from '../connection/connection-slots.js'
import type { Connections } from '../connection/connections.js'
import type { TimerWheel } from '../connection/timer-wheel.js'
import type { Hub } from '../hub/hub.js'
import type { Logger } from '../log.js'
import type { Metrics } from '../metrics/metrics.js'
import type { PresenceAnnouncer } from '../presence/presence-announcer.js'
import type { PresenceKeeper } from '../presence/presence-keeper.js'
import type { ListenOptions, Transport } from '../transport/transport.js'
import { closeAll } from './drain.js'
import type { ControlQuestion, PeerMessage, Peers, Question } from './peers.js'
import { RelayWatch } from './relay-watch.js'
import {
  type ChannelList,
  channelList,
  listChannels,
  type NodeInfo,
  nodeInfo,
  outcome,
} from './survey-answers.js'
import { type Survey, Surveys } from './surveys.js'

/** How long a drain may take beyond its delay and window, its farewell included, before it counts as failed. */
const DRAIN_GRACE_MS = 10_000
/** Between the beginnings of two attempts to join the cluster, which may fail at once. */
const JOIN_INTERVAL_MS = 1_000
/** Time for the last close frames to be read, and for the last leaves to reach Redis. */
const CLOSE_FLUSH_MS = 200

export interface NodeOptions {
  readonly id: string
  readonly version: string
  readonly publicListener: ListenOptions
  readonly drainDelayMs: number
  readonly drainWindowMs: number
}

export interface NodeParts {
  readonly connections: Connections
  readonly hub: Hub
  readonly slots: ConnectionSlots
  readonly wheel: TimerWheel
  readonly broker: Broker
  readonly peers: Peers
  readonly presence: PresenceAnnouncer
  /** Where presence is shared with other nodes. */
  readonly presenceKeeper: PresenceKeeper | undefined
  /** Where an issuer publishes keys: nobody is let in by its tokens before they are there. */
  readonly remoteKeys: RemoteKeys | undefined
  readonly publicTransport: Transport
  readonly metrics: Metrics
  readonly log: Logger
  /** Ends what the broker and the peers go through. */
  readonly closeRelay: () => void
  /** Called once, with the public port, when the node hears the cluster for the first time. */
  readonly ready: (port: number) => void
}

export type ReadyState = 'starting' | 'ok' | 'degraded' | 'deaf' | 'draining'

/** The answer to a readiness check. */
export interface Readiness {
  readonly status: ReadyState
  /** How long nothing has been heard of the cluster. */
  readonly relaySilenceMs: number
}

/** One node: everything from its start to the end of its drain. */
export class Node {
  readonly surveys: Surveys
  private readonly relayWatch: RelayWatch
  private readonly control: ConnectionControl
  private readonly startedMs = performance.now()
  private isDraining = false
  private hasStopped = false
  /** Whether nobody can be let in by an issuer's tokens yet. */
  private awaitsKeys: boolean
  private port = 0

  constructor(
    private readonly options: NodeOptions,
    private readonly parts: NodeParts,
  ) {
    const { peers, presence, presenceKeeper, metrics, log, connections, hub, remoteKeys } = parts
    this.awaitsKeys = remoteKeys !== undefined
    this.control = new ConnectionControl(connections)
    this.surveys = new Surveys(options.id, peers, (question) => this.answer(question))
    this.relayWatch = new RelayWatch(
      options.id,
      peers,
      metrics,
      log,
      () => void this.becomeReady(),
      (hasLapsed) => presenceKeeper?.announced(hasLapsed),
    )
    metrics.watch({
      backpressureBytes: () => {
        let bytes = 0
        for (const { socket } of connections) bytes += socket?.bufferedBytes() ?? 0
        return bytes
      },
      channels: () => hub.channelCount,
      nodes: () => this.relayWatch.nodes,
      pendingPresence: () => presence.pendingCount,
    })
  }

  /** Listens, and goes on connecting to the cluster in the background. Resolves with the port; rejects when it is taken. */
  async start(): Promise<number> {
    const { publicListener } = this.options
    const { publicTransport, broker, hub, wheel, remoteKeys } = this.parts
    this.port = await publicTransport.listen(publicListener)
    wheel.start()
    hub.start()
    broker.start(hub)
    remoteKeys?.start()
    void this.joinCluster()
    return this.port
  }

  readiness(): Readiness {
    const states = { starting: 'starting', alive: 'ok', lost: 'degraded', deaf: 'deaf' } as const
    const relayStatus = this.awaitsKeys ? 'starting' : states[this.relayWatch.state]
    const status = this.isDraining ? 'draining' : relayStatus
    return { status, relaySilenceMs: this.relayWatch.silenceMs }
  }

  /** Every live node's description. */
  info(): Promise<Survey<NodeInfo>> {
    return this.surveys.ask({ about: 'info' }, nodeInfo)
  }

  /** Every live node's clients by channel, of channels that match the pattern. */
  channels(pattern: string): Promise<Survey<ChannelList>> {
    return this.surveys.ask({ about: 'channels', pattern }, channelList)
  }

  /** Has every live node do something to its connections. */
  controlConnections(question: ControlQuestion): Promise<Survey<ControlResult>> {
    return this.surveys.ask(question, outcome)
  }

  /**
   * Stops calmly: turns not ready, waits for the balancer, lets nobody in, closes all connections over the window.
   * Resolves with whether that was done in time.
   */
  async drain(): Promise<boolean> {
    const { drainDelayMs, drainWindowMs } = this.options
    const { connections, slots, presence, publicTransport, metrics, log } = this.parts
    this.isDraining = true
    metrics.draining.set(1)
    log.info({ connections: connections.count }, 'draining')
    if (drainDelayMs > 0) await sleep(drainDelayMs)
    slots.close()
    publicTransport.stopListening()
    const isInTime = await within(drainWindowMs + DRAIN_GRACE_MS, this.closeAndLeave())
    if (!isInTime) {
      const facts = { connections: connections.count, pendingPresence: presence.pendingCount }
      log.warn(facts, 'not drained in time')
    }
    return isInTime
  }

  /** Ends everything at once. */
  stop(): void {
    this.hasStopped = true
    const { hub, wheel, publicTransport, closeRelay, remoteKeys } = this.parts
    this.relayWatch.stop()
    hub.stop()
    wheel.stop()
    remoteKeys?.stop()
    publicTransport.close()
    closeRelay()
  }

  /** Closes all connections over the window, ends the requests under way, and tells the cluster that this node is gone. */
  private async closeAndLeave(): Promise<void> {
    const { connections, slots, publicTransport } = this.parts
    const hadConnections = connections.count > 0
    const requests = publicTransport.finishRequests()
    await Promise.all([closeAll(connections, this.options.drainWindowMs), slots.whenEmpty(), requests])
    if (hadConnections) await sleep(CLOSE_FLUSH_MS)
    await this.leaveCluster()
  }

  /** Others find what could not be undone, and do it: nothing here is worth failing for. */
  private async leaveCluster(): Promise<void> {
    const { peers, presence, presenceKeeper } = this.parts
    await presence.settled()
    try {
      await presenceKeeper?.leave()
      // Only now: the presence of a node that has taken its leave is swept by nobody.
      await peers.leave()
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error)
      this.parts.log.warn({ error: message }, 'the cluster could not be told that this node stops')
    }
  }

  /** The relay is there. */
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
        this.relayWatch.start()
        return
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error)
        log.warn({ error: message }, 'not ready: the relay cannot be reached')
        await nextAttempt
      }
    }
  }

  private receive(message: PeerMessage): void {
    if (message.type === 'probe') {
      this.relayWatch.probeReturned(message.sentAtMs)
      return
    }
    this.surveys.handle(message).catch((error: unknown) => {
      // The asker names this node as missing.
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

/** Whether something is done within this time. */
async function within(timeMs: number, done: Promise<unknown>): Promise<boolean> {
  const timeout = new AbortController()
  const late = sleep(timeMs, false, { signal: timeout.signal }).catch(() => false)
  const isInTime = await Promise.race([done.then(() => true), late])
  timeout.abort()
  return isInTime
}
