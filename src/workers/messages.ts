import type { Config } from '../config/settings.js'
import type { MetricsSnapshot } from '../metrics/metrics.js'
import type { Readiness } from '../node/node.js'

/** Messages of the supervisor to a worker, over the channel that Node.js opens between parent and child. */
export type ToWorker =
  | { readonly type: 'start'; readonly config: Config; readonly worker: number }
  /** Asks for a report, whose message carries the same id. */
  | { readonly type: 'report'; readonly id: number }
  | { readonly type: 'drain' }

/** Messages of a worker to the supervisor. */
export type FromWorker =
  | { readonly type: 'listening' }
  /** The worker's node has joined the cluster: see `NodeParts.ready`. */
  | { readonly type: 'ready' }
  /** The worker cannot start, for a reason that a restart would not change. */
  | { readonly type: 'failed'; readonly message: string }
  | { readonly type: 'report'; readonly id: number; readonly report: WorkerReport }

/** The state of one worker, of which the supervisor makes that of all. */
export interface WorkerReport {
  readonly readiness: Readiness
  readonly metrics: MetricsSnapshot
}
