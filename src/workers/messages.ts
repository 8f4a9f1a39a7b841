import type { Config } from '../config/settings.js'
import type { MetricsSnapshot } from '../metrics/metrics.js'
import type { Readiness } from '../node/node.js'

/** What the supervisor tells a worker, over the channel that Node opens between parent and child. */
export type ToWorker =
  | { readonly type: 'start'; readonly config: Config; readonly worker: number }
  | { readonly type: 'report'; readonly id: number }
  | { readonly type: 'drain' }

/** What a worker tells the supervisor. */
export type FromWorker =
  | { readonly type: 'listening' }
  /** It hears the cluster. */
  | { readonly type: 'ready' }
  /** It cannot start, for a reason that starting again would not mend. */
  | { readonly type: 'failed'; readonly message: string }
  | { readonly type: 'report'; readonly id: number; readonly report: WorkerReport }

export interface WorkerReport {
  readonly readiness: Readiness
  readonly metrics: MetricsSnapshot
}
