import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { Child } from '../support/child-process.js'
import { TOP } from '../support/deployment.js'

const directory = mkdtempSync(join(tmpdir(), 'fanfare-load-'))
afterAll(() => rmSync(directory, { recursive: true }))

/** A load run whose k6 is a script: what is told of a run is decided by how k6 ends. */
function runWith(k6: string): Child {
  const file = join(directory, 'k6')
  const version = '[ "$1" = version ] && echo "k6 v1.8.1 (go1.25)" && exit'
  writeFileSync(file, `#!/bin/sh\n${version}\n${k6}\n`, { mode: 0o755 })
  return new Child(
    process.execPath,
    [join(TOP, 'dist/load/main.js'), 'raw-chat', '--url', 'ws://127.0.0.1:1'],
    { env: { ...process.env, K6_BIN: file } },
  )
}

describe('a load run with k6', () => {
  it.each([
    ['pass', 0, 0],
    ['FAIL', 99, 1],
    ['interrupted', 105, 1],
  ])('says %s when k6 ends with %i', async (said, k6Code, code) => {
    const run = runWith(`exit ${k6Code}`)
    expect(await run.exited).toEqual({ code, signal: null })
    expect(run.lines.at(-1)).toBe(`raw-chat: ${said}`)
  })

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('says interrupted when it gets %s, and takes k6 with it', async (signal, code) => {
    const run = runWith('echo "k6 is $$"\nexec sleep 60')
    const pid = Number((await run.line(/^k6 is/)).slice('k6 is '.length))
    run.kill(signal)
    expect(await run.exited).toEqual({ code, signal: null })
    expect(run.lines.at(-1)).toBe('raw-chat: interrupted')
    expect(() => process.kill(pid, 0)).toThrow('ESRCH')
  })
})
