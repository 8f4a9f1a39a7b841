import type { Cleanup } from '../../load/cleanup.js'
import type { FaultNode } from './fault-node.js'
import type { Permissions } from './ledger/events.js'
import type { LedgerReport } from './ledger/ledger.js'
import type { RawSubscriber, SdkSubscriber } from './subscribers.js'
import type { Proxied, RedisUnderFault, TopologyName } from './topologies.js'

/** How large a run is. Load goes by count: publications, and what happens after so many of them. */
export interface Shape {
  readonly nodes: number
  /** Channels with history, to each of which every SDK subscriber subscribes. */
  readonly channels: number
  /** SDK subscribers that keep their connection. */
  readonly steady: number
  /** SDK subscribers that cut their connection again and again, and recover. */
  readonly churning: number
  /** SDK subscribers that unsubscribe and subscribe again. */
  readonly resubscribing: number
  /** Raw subscribers of each channel, with history or without. */
  readonly raw: number
  /** Publications before the fault, and the least number in the whole run. */
  readonly before: number
  readonly publications: number
  readonly publicationsPerSecond: number
}

export const DEFAULT_SHAPE: Shape = {
  nodes: 3,
  channels: 4,
  steady: 8,
  churning: 12,
  resubscribing: 4,
  raw: 2,
  before: 300,
  publications: 1_800,
  publicationsPerSecond: 150,
}

/** What `npm test` runs. */
export const QUICK_SHAPE: Shape = {
  nodes: 2,
  channels: 2,
  steady: 2,
  churning: 3,
  resubscribing: 1,
  raw: 1,
  before: 40,
  publications: 200,
  publicationsPerSecond: 100,
}

/** What a fault demands beside the properties, in times that a machine with two shared cores keeps. */
export interface Bars {
  /** The longest time in which no publication is acknowledged. */
  readonly publishSilenceMs?: number
  /** The longest time for which a subscriber hears nothing in a channel. */
  readonly hearSilenceMs?: number
  /** The longest time that the server API takes to answer a publish. */
  readonly answerMs?: number
  /** A state or reasons of `/ready` that some node has shown. */
  readonly ready?: readonly string[]
  /** Whether SDK subscribers that do not churn keep their connections, and none is told of a gap. */
  readonly isUnnoticed?: boolean
}

/** What a fault may do, and wait for. */
export interface FaultContext {
  readonly redis: RedisUnderFault
  readonly nodes: readonly FaultNode[]
  readonly steady: readonly SdkSubscriber[]
  readonly raw: readonly RawSubscriber[]
  /** The channels with history. */
  readonly channels: readonly string[]
  readonly random: () => number
  readonly shape: Shape
  /** Resolves when so many more publications were sent and answered, accepted or not. */
  attempted(count: number): Promise<void>
  /** Resolves when so many more were acknowledged; rejects where that takes longer than `withinMs`. */
  acknowledged(count: number, withinMs?: number): Promise<void>
  /** For the time that the fault itself lasts. */
  last(ms: number): Promise<void>
  /** Resolves when a condition is true that no event tells; rejects with its name after a minute. */
  until(isTrue: () => Promise<boolean> | boolean, what: string): Promise<void>
  /** Makes every publication so many bytes larger from now on. */
  pad(bytes: number): void
  /** Publishes once in each channel with history, through one request to a node. */
  publishEverywhere(node: FaultNode): Promise<void>
  /** Adds a demand of the fault that was not met. */
  fail(reason: string): void
}

/** Something that goes wrong in a cluster, and what has to be true of it. */
export interface Fault extends Permissions {
  readonly name: string
  /** One sentence: what happens. */
  readonly summary: string
  readonly topologies: readonly TopologyName[]
  /** How long the fault itself lasts, for the estimate of a run. */
  readonly lastsMs: number
  readonly bars: Bars
  readonly shape?: Partial<Shape>
  /** Settings of nodes, and arguments of redis-server. */
  readonly settings?: Readonly<Record<string, string>>
  /** Prepares a run; returns further variables of the environment of nodes. */
  readonly prepare?: (cleanup: Cleanup) => Readonly<Record<string, string>>
  readonly redisArgs?: readonly string[]
  readonly proxied?: Proxied
  /** Whether clients connect through HAProxy. */
  readonly isBalanced?: boolean
  /** Returns what is missing on this machine, if anything. */
  readonly missing?: () => string | undefined
  inject(context: FaultContext): Promise<void>
}

/** One run of a fault: what was measured, and what was not as it should be. */
export interface Outcome {
  readonly fault: string
  readonly topology: TopologyName
  readonly seed: number
  readonly ledger: LedgerReport
  readonly publishSilenceMs: number
  readonly hearSilenceMs: number
  readonly slowestAnswerMs: number
  readonly readiness: readonly string[]
  /** Demands of the fault that were not met, a sentence each. */
  readonly failures: readonly string[]
  /** Of nodes, where something was not as it should be. */
  readonly log: readonly string[]
  readonly durationMs: number
}

/** Starting and ending a cluster, and waiting for the last deliveries, on two shared cores. */
const OVERHEAD_MS = 15_000

/** About how long a run takes. */
export function estimateMs({ shape, lastsMs }: Fault): number {
  const { publications, publicationsPerSecond } = { ...DEFAULT_SHAPE, ...shape }
  return OVERHEAD_MS + lastsMs + (1_000 * publications) / publicationsPerSecond
}

/** Whether the properties hold and the fault's demands are met. */
export function isPassed({ ledger, failures }: Outcome): boolean {
  return failures.length === 0 && Object.values(ledger.violations).every((count) => count === 0)
}
