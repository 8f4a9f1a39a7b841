import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { Child } from '../../deploy/local/child-process.js'
import { Cleanup } from '../../load/cleanup.js'
import { faultNamed } from '../faults/catalogue.js'
import { QUICK_SHAPE } from '../faults/fault.js'
import { type RunOptions, type RunResult, runFault } from '../faults/fault-run.js'
import { describeFailure } from '../faults/report.js'
import type { TopologyName } from '../faults/topologies.js'
import { eventually } from '../support/metric.js'
import { ROOT } from '../support/repository.js'
import { workersOf } from '../support/workers.js'

const SEED = 1

describe('a cluster under a fault', () => {
  let cleanup = new Cleanup()
  afterEach(() => cleanup.run())

  const run = (
    name: string,
    topology: TopologyName,
    options: Partial<RunOptions> = {},
  ): Promise<RunResult> => {
    cleanup = new Cleanup()
    const fault = { ...faultNamed(name), bars: {} }
    return runFault({ fault, topology, seed: SEED, shape: QUICK_SHAPE, ...options }, cleanup)
  }

  it.each([
    ['pubsub-killed', 'one'],
    ['node-crash', 'one'],
    ['redis-restart-empty', 'one'],
    ['sentinel-failover', 'sentinel'],
  ] as const)('keeps its promises under %s on %s', async (name, topology) => {
    const result = await run(name, topology)
    expect(describeFailure(result).replace(/\n?again: .*$/, '')).toBe('')
    expect(result.ledger.acknowledged).toBeGreaterThanOrEqual(QUICK_SHAPE.publications)
  })

  it('would be found to lose a publication', async () => {
    const fault = { ...faultNamed('calm'), shape: QUICK_SHAPE }
    const result = await run('calm', 'one', { fault, sabotage: 'drop' })
    expect(result.hasSabotaged).toBe(true)
    expect(result.ledger.violations).toMatchObject({ P1: 1, P2: 0, P3: 0, P4: 0 })
  })
})

describe('npm run faults', () => {
  it('stops what it has started when it is interrupted', async () => {
    const command = new Child(process.execPath, [join(ROOT, 'dist/test/faults/main.js'), 'calm'])
    await command.line(/about \d+ minutes/)
    // The guard of processes, Redis, and a node.
    await eventually(async () => workersOf(command.pid).length >= 3, 'a cluster is starting')
    const started = workersOf(command.pid)
    command.kill('SIGINT')
    expect(await command.exited).toEqual({ code: 130, signal: null })
    const isGone = async () => started.every((pid) => !existsSync(`/proc/${pid}`))
    await eventually(isGone, 'no process is left')
  })
})
