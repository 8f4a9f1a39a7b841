import { defineConfig } from 'vitest/config'

/** Tests that hang, for the test of the watchdog. */
export default defineConfig({
  test: {
    root: import.meta.dirname,
    include: ['*.hanging.ts'],
    globalSetup: ['../watchdog/watchdog.ts'],
    runner: '../watchdog/runner.ts',
    pool: 'forks',
    testTimeout: 2_000,
    hookTimeout: 2_000,
  },
})
