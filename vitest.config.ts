import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'
import { requireInstalled } from './deploy/local/system-packages.js'
import { POLL_OPTIONS } from './test/support/poll-options.js'

// The servers and tools that tests use. Checked here, before a run that can't begin prints anything.
requireInstalled(['redis-server', 'haproxy', 'prometheus', 'promtool', 'curl', 'ps'])

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/global-setup.ts', 'test/support/watchdog/watchdog.ts'],
    runner: './test/support/watchdog/runner.ts',
    // uWebSockets.js is a native addon that ends with its process, not with a worker thread.
    pool: 'forks',
    // Tests wait for other processes more than they compute.
    maxWorkers: Math.max(3, availableParallelism()),
    // Longer than any test takes on a slow machine: a test that takes longer hangs.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    expect: { poll: POLL_OPTIONS },
  },
})
