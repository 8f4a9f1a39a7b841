import type { Logger } from '../log.js'
import { BrokerError } from '../protocol/broker-error.js'
import type { PresenceUpkeep, ReportPresence } from './presence-store.js'

/**
 * Announcements without a lapse before this node calls others dead: after an outage that all shared every lease has run
 * out, and whoever is back first must give the others time to say that they are alive.
 */
const CALM_ANNOUNCEMENTS = 2

/** Nodes that have announced themselves, and are heard of no more. */
export interface DeadNodes {
  deadNodes(): Promise<readonly string[]>
  /** Takes a node off the list, for good unless it announces itself again. */
  forget(node: string): Promise<void>
}

/** Keeps shared presence right: puts this node's clients back after an outage, and takes out those of dead nodes. */
export class PresenceKeeper {
  private calmAnnouncements = 0
  private mayHaveLapsed = false
  private isBusy = false

  constructor(
    private readonly upkeep: PresenceUpkeep,
    private readonly nodes: DeadNodes,
    private readonly report: ReportPresence,
    private readonly log: Logger,
  ) {}

  /** This node has said that it is alive. A call that comes while the last one's work goes on leaves it to the next. */
  announced(hasLapsed: boolean): void {
    this.calmAnnouncements = hasLapsed ? 0 : this.calmAnnouncements + 1
    this.mayHaveLapsed ||= hasLapsed
    if (this.isBusy) return
    this.isBusy = true
    this.maintain()
      .catch((error: unknown) => {
        // The next announcement is the next attempt.
        if (!(error instanceof BrokerError)) this.log.error({ err: error }, 'keeping presence failed')
      })
      .finally(() => {
        this.isBusy = false
      })
  }

  /** Takes out what this node has left, once its clients are gone. Rejects with a BrokerError. */
  leave(): Promise<void> {
    return this.upkeep.removeOwn(this.report)
  }

  private async maintain(): Promise<void> {
    const hasLapsed = this.mayHaveLapsed
    this.mayHaveLapsed = false
    await this.upkeep.restore(hasLapsed, this.report)
    if (this.calmAnnouncements < CALM_ANNOUNCEMENTS) return
    for (const node of await this.nodes.deadNodes()) {
      if (!(await this.upkeep.sweep(node, this.report))) continue
      await this.nodes.forget(node)
      this.log.info({ node }, 'swept the presence of a dead node')
    }
  }
}
