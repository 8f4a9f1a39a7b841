import type { Logger } from '../log.js'
import { BrokerError } from '../protocol/broker-error.js'
import type { PresenceUpkeep, ReportPresence } from './presence-store.js'

/**
 * Announcements without a lapse before this node sweeps dead nodes. An outage of Redis ends the lease of every node, and
 * the first node that reconnects must give the others time to announce themselves.
 */
const ANNOUNCEMENTS_BEFORE_SWEEP = 6

/** The nodes that have announced themselves and whose lease has expired since. */
export interface DeadNodes {
  /** Resolves with their ids. Rejects with a BrokerError within 2 s. */
  deadNodes(): Promise<readonly string[]>
  /** Removes a node from the list until it announces itself again. Rejects with a BrokerError within 2 s. */
  forget(node: string): Promise<void>
}

/** Keeps shared presence correct: restores this node's clients after an outage, and removes those of dead nodes. */
export class PresenceKeeper {
  private announcementsSinceLapse = 0
  private mayHaveLapsed = false
  private isBusy = false

  constructor(
    private readonly upkeep: PresenceUpkeep,
    private readonly nodes: DeadNodes,
    private readonly report: ReportPresence,
    private readonly log: Logger,
  ) {}

  /**
   * Restores this node's clients and sweeps dead nodes, in the background. To be called after each announcement of this
   * node. While the work of an earlier call goes on, this one only notes the lapse, and the next call does the work.
   * @param mayHaveLapsed whether other nodes may have taken this one for dead before the announcement.
   */
  nodeAnnounced(mayHaveLapsed: boolean): void {
    this.announcementsSinceLapse = mayHaveLapsed ? 0 : this.announcementsSinceLapse + 1
    this.mayHaveLapsed ||= mayHaveLapsed
    if (this.isBusy) return
    this.isBusy = true
    this.restoreThenSweep()
      .catch((error: unknown) => {
        // The next announcement retries. A BrokerError is reported where Redis refuses: see RedisHealth.
        if (!(error instanceof BrokerError)) this.log.error({ err: error }, 'keeping presence failed')
      })
      .finally(() => {
        this.isBusy = false
      })
  }

  /** Removes the clients that this node still has in the store when it stops. Rejects with a BrokerError. */
  removeOwnClients(): Promise<void> {
    return this.upkeep.removeOwnClients(this.report)
  }

  /** Restores this node's clients, then sweeps dead nodes if this node has announced itself often enough without a lapse. */
  private async restoreThenSweep(): Promise<void> {
    const { mayHaveLapsed } = this
    this.mayHaveLapsed = false
    try {
      await this.upkeep.restoreOwnClients(mayHaveLapsed, this.report)
    } finally {
      // Also where a part of Redis is out: what can be swept need not wait for it.
      if (this.announcementsSinceLapse >= ANNOUNCEMENTS_BEFORE_SWEEP) await this.sweepDeadNodes()
    }
  }

  private async sweepDeadNodes(): Promise<void> {
    for (const node of await this.nodes.deadNodes()) {
      if (!(await this.upkeep.sweepDeadNode(node, this.report))) continue
      await this.nodes.forget(node)
      this.log.info({ node }, 'swept the presence of a dead node')
    }
  }
}
