import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { Child } from '../../deploy/local/child-process.js'
import { ROOT } from '../support/repository.js'

const directory = mkdtempSync(join(tmpdir(), 'fanfare-load-'))
afterAll(() => rmSync(directory, { recursive: true }))

/** Starts a load run with a script as k6, since the printed result depends on the exit code of k6. */
function runWith(k6: string): Child {
  const file = join(directory, 'k6')
  const version = '[ "$1" = version ] && echo "k6 v1.8.1 (go1.25)" && exit'
  writeFileSync(file, `#!/bin/sh\n${version}\n${k6}\n`, { mode: 0o755 })
  return new Child(
    process.execPath,
    [join(ROOT, 'dist/load/main.js'), 'raw-chat', '--url', 'ws://127.0.0.1:1'],
    { env: { ...process.env, K6_BIN: file } },
  )
}

describe('a load run with k6', () => {
  it.each([
    ['pass', 0, 0],
    ['FAIL', 99, 1],
    ['interrupted', 105, 1],
  ])('prints %s when k6 ends with %i', async (result, k6Code, code) => {
    const run = runWith(`exit ${k6Code}`)
    expect(await run.exited).toEqual({ code, signal: null })
    expect(run.lines.at(-1)).toBe(`raw-chat: ${result}`)
  })

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('prints interrupted on %s, and ends k6', async (signal, code) => {
    const run = runWith('echo "k6 is $$"\nexec sleep 60')
    const pid = Number((await run.line(/^k6 is/)).slice('k6 is '.length))
    run.kill(signal)
    expect(await run.exited).toEqual({ code, signal: null })
    expect(run.lines.at(-1)).toBe('raw-chat: interrupted')
    expect(() => process.kill(pid, 0)).toThrow('ESRCH')
  })
})

describe('a load run that measures the relay', () => {
  const run = async (...options: string[]) => {
    const child = new Child(process.execPath, [join(ROOT, 'dist/load/main.js'), 'relay', ...options])
    return { ...(await child.exited), output: child.output }
  }
  const received = ['Fanfare', 'PUBLISH by ioredis'].map(
    (title) => `pass  ${title}: every publication received by each node, once and in order`,
  )

  it('ends with 0 when every publication has arrived, and only notes the ratio of a smoke run', async () => {
    const { code, output } = await run('--smoke', '--rate', '400')
    expect(output).toMatch(/^(?:note|pass) {2}CPU of Redis a publication \d+\.\d\d × that of one PUBLISH/m)
    for (const line of received) expect(output).toContain(line)
    expect(code).toBe(0)
  })

  it('ends with 1 when Redis needs more than a third of one PUBLISH', async () => {
    // So few publications that none of them leave together.
    const { code, output } = await run('--rate', '40', '--seconds', '1', '--rounds', '1')
    expect(output).toContain('FAIL  CPU of Redis a publication')
    for (const line of received) expect(output).toContain(line)
    expect(code).toBe(1)
  })
})
