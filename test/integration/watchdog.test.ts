import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { Child } from '../../deploy/local/child-process.js'
import { ROOT } from '../support/repository.js'

describe('a test run in which some tests hang', () => {
  let run: Child
  beforeAll(async () => {
    const config = join(ROOT, 'test/support/hanging/vitest.config.ts')
    run = new Child('npx', ['vitest', 'run', '--config', config], {
      cwd: ROOT,
      env: { ...process.env, FORCE_COLOR: undefined, NO_COLOR: '1' },
    })
    await run.exited
  })

  it.each([
    ['waits for ever', /FAIL.* waits\.hanging\.ts.* waits for ever/],
    ['blocks the event loop', /WATCHDOG: blocks\.hanging\.ts runs "blocks the event loop for ever"/],
    ['blocks it while its file is loaded', /WATCHDOG: loads\.hanging\.ts loads its tests/],
  ])('prints a test that %s, with its file', (_how, name) => {
    expect(run.output).toMatch(name)
  })

  it('leaves no process that they have started', () => {
    const pid = Number(/started (\d+)/.exec(run.output)?.[1])
    expect(() => process.kill(pid, 0)).toThrow('ESRCH')
  })

  it('runs the other tests, and fails', async () => {
    expect(run.output).toMatch(/✓ passes\.hanging\.ts/)
    expect(run.output).not.toContain('WATCHDOG: passes')
    expect(await run.exited).toEqual({ code: 1, signal: null })
  })
})
