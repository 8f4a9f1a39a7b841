import { beforeEach, describe, expect, it } from 'vitest'
import { createLogger } from '../../src/log.js'
import { type DeadNodes, PresenceKeeper } from '../../src/presence/presence-keeper.js'
import type { PresenceUpkeep } from '../../src/presence/presence-store.js'
import { BrokerError } from '../../src/protocol/broker-error.js'

/** A cluster with a dead node, and what is done about it. */
class Upkeep implements PresenceUpkeep, DeadNodes {
  readonly done: string[] = []
  isSwept = true
  failure: Error | undefined
  restoring: Promise<void> = Promise.resolve()

  async restore(hasLapsed: boolean): Promise<void> {
    this.done.push(hasLapsed ? 'restore after a lapse' : 'restore')
    await this.restoring
    if (this.failure !== undefined) throw this.failure
  }

  sweep(node: string): Promise<boolean> {
    this.done.push(`sweep ${node}`)
    return Promise.resolve(this.isSwept)
  }

  removeOwn(): Promise<void> {
    this.done.push('remove own')
    return Promise.resolve()
  }

  deadNodes(): Promise<readonly string[]> {
    return Promise.resolve(['two'])
  }

  forget(node: string): Promise<void> {
    this.done.push(`forget ${node}`)
    return Promise.resolve()
  }
}

let upkeep: Upkeep
let lines: string[]
let keeper: PresenceKeeper

beforeEach(() => {
  upkeep = new Upkeep()
  lines = []
  const log = {
    ...createLogger({ level: 'silent', format: 'json' }),
    error: (_facts: object, message: string) => lines.push(message),
  }
  keeper = new PresenceKeeper(upkeep, upkeep, () => Promise.resolve(), log)
})

async function announced(hasLapsed: boolean): Promise<string[]> {
  upkeep.done.length = 0
  keeper.announced(hasLapsed)
  await new Promise(setImmediate)
  return [...upkeep.done]
}

describe('a node that announces itself', () => {
  it('sweeps dead nodes only once it has been alive itself for a while: a shared outage ends every lease', async () => {
    expect(await announced(true)).toEqual(['restore after a lapse'])
    expect(await announced(false)).toEqual(['restore'])
    expect(await announced(false)).toEqual(['restore', 'sweep two', 'forget two'])
    expect(await announced(true)).toEqual(['restore after a lapse'])
    expect(await announced(false)).toEqual(['restore'])
  })

  it('does not forget a dead node that is not swept to its end', async () => {
    await announced(false)
    upkeep.isSwept = false
    expect(await announced(false)).toEqual(['restore', 'sweep two'])
  })

  it('remembers a lapse that comes while it is busy', async () => {
    let finish: () => void = () => undefined
    upkeep.restoring = new Promise((resolve) => {
      finish = resolve
    })
    expect(await announced(false)).toEqual(['restore'])
    expect(await announced(true)).toEqual([])
    finish()
    await new Promise(setImmediate)
    expect(await announced(false)).toEqual(['restore after a lapse'])
  })

  it('tries again after a failure, and logs only defects', async () => {
    upkeep.failure = new BrokerError('unavailable', 'Redis cannot be reached')
    await announced(false)
    expect(lines).toEqual([])
    upkeep.failure = new TypeError('a defect')
    await announced(false)
    expect(lines).toEqual(['keeping presence failed'])
    upkeep.failure = undefined
    expect(await announced(false)).toEqual(['restore', 'sweep two', 'forget two'])
  })
})
