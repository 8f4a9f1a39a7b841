import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'
import { PATIENCE } from './test/support/patience.js'
import { requireInstalled } from './test/support/system-packages.js'

// The servers and tools that tests use. Here, since it is before anything is printed of a run that can't begin.
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
    // No machine is so slow: what takes longer hangs.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    expect: { poll: PATIENCE },
  },
})
