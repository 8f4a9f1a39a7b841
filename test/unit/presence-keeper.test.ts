import { beforeEach, describe, expect, it } from 'vitest'
import { createLogger } from '../../src/log.js'
import { type DeadNodes, PresenceKeeper } from '../../src/presence/presence-keeper.js'
import type { PresenceUpkeep } from '../../src/presence/presence-store.js'
import { BrokerError } from '../../src/protocol/broker-error.js'

/** Records the upkeep of a cluster with a dead node. */
class RecordingUpkeep implements PresenceUpkeep, DeadNodes {
  readonly calls: string[] = []
  isSwept = true
  failure: Error | undefined
  restoring: Promise<void> = Promise.resolve()

  async restoreOwnClients(hasLapsed: boolean): Promise<void> {
    this.calls.push(hasLapsed ? 'restore after a lapse' : 'restore')
    await this.restoring
    if (this.failure !== undefined) throw this.failure
  }

  sweepDeadNode(node: string): Promise<boolean> {
    this.calls.push(`sweep ${node}`)
    return Promise.resolve(this.isSwept)
  }

  removeOwnClients(): Promise<void> {
    this.calls.push('remove own')
    return Promise.resolve()
  }

  deadNodes(): Promise<readonly string[]> {
    return Promise.resolve(['two'])
  }

  forget(node: string): Promise<void> {
    this.calls.push(`forget ${node}`)
    return Promise.resolve()
  }
}

let upkeep: RecordingUpkeep
let lines: string[]
let keeper: PresenceKeeper

beforeEach(() => {
  upkeep = new RecordingUpkeep()
  lines = []
  const log = {
    ...createLogger({ level: 'silent', format: 'json' }),
    error: (_facts: object, message: string) => lines.push(message),
  }
  keeper = new PresenceKeeper(upkeep, upkeep, () => Promise.resolve(), log)
})

/** Announces the node. Returns the upkeep that follows. */
async function announce(hasLapsed: boolean): Promise<string[]> {
  upkeep.calls.length = 0
  keeper.nodeAnnounced(hasLapsed)
  await new Promise(setImmediate)
  return [...upkeep.calls]
}

describe('a node that announces itself', () => {
  it('sweeps dead nodes only after six announcements without a lapse, since an outage ends every lease', async () => {
    expect(await announce(true)).toEqual(['restore after a lapse'])
    for (let count = 1; count < 6; count++) expect(await announce(false)).toEqual(['restore'])
    expect(await announce(false)).toEqual(['restore', 'sweep two', 'forget two'])
    expect(await announce(true)).toEqual(['restore after a lapse'])
    expect(await announce(false)).toEqual(['restore'])
  })

  it('does not forget a dead node that is not swept completely', async () => {
    for (let count = 1; count < 6; count++) await announce(false)
    upkeep.isSwept = false
    expect(await announce(false)).toEqual(['restore', 'sweep two'])
  })

  it('handles a lapse that occurs while it is busy with the next announcement', async () => {
    let finish: () => void = () => undefined
    upkeep.restoring = new Promise((resolve) => {
      finish = resolve
    })
    expect(await announce(false)).toEqual(['restore'])
    expect(await announce(true)).toEqual([])
    finish()
    await new Promise(setImmediate)
    expect(await announce(false)).toEqual(['restore after a lapse'])
  })

  it('retries after a failure, and logs only defects', async () => {
    upkeep.failure = new BrokerError('unavailable', 'Redis cannot be reached')
    for (let count = 1; count < 5; count++) await announce(false)
    expect(lines).toEqual([])
    upkeep.failure = new TypeError('a defect')
    await announce(false)
    expect(lines).toEqual(['keeping presence failed'])
    upkeep.failure = undefined
    expect(await announce(false)).toEqual(['restore', 'sweep two', 'forget two'])
  })
})
