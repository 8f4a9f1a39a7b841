import { inject, type RunnerTask, type RunnerTestFile, type RunnerTestSuite, TestRunner } from 'vitest'
import { RunningTests } from './running-tests.js'

/** Runs tests as vitest does, and reports to the watchdog which ones run. */
export default class WatchedRunner extends TestRunner {
  private readonly tests = new RunningTests(inject('watchdogDirectory'))

  constructor(...args: ConstructorParameters<typeof TestRunner>) {
    super(...args)
    // When vitest itself is killed: the tests would continue until their next message to it, without a watchdog.
    process.once('disconnect', () => process.kill(process.pid, 'SIGKILL'))
  }

  override onCollectStart(file: RunnerTestFile): void {
    this.tests.collects(file.name)
    super.onCollectStart(file)
  }

  override onBeforeRunSuite(suite: RunnerTestSuite): Promise<void> {
    this.tests.write(`runs hooks of "${suite.name}"`)
    return super.onBeforeRunSuite(suite)
  }

  override onBeforeRunTask(test: RunnerTask): Promise<void> {
    this.tests.starts(test.id, `runs "${test.name}"`)
    return super.onBeforeRunTask(test)
  }

  override onAfterRunFiles(): void {
    this.tests.finish()
    super.onAfterRunFiles()
  }

  override onAfterRunTask(test: RunnerTask): void {
    this.tests.ends(test.id)
    super.onAfterRunTask(test)
  }
}
