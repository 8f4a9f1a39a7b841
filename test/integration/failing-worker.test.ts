import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, expect, it } from 'vitest'
import { loadConfig } from '../../src/config/load.js'
import type { FromWorker, ToWorker } from '../../src/workers/messages.js'
import { afterThisTest, cleanUp } from '../support/clean-ups.js'
import { EventLog } from '../support/event-log.js'
import { ROOT } from '../support/repository.js'

afterEach(cleanUp)

interface LogLine {
  readonly msg: string
  readonly err?: { readonly message: string }
}

/** Starts a worker after a change of its modules, as the supervisor would. Resolves when it listens. */
async function startWorker(change: string): Promise<{ worker: ChildProcess; logged: EventLog<LogLine> }> {
  const directory = mkdtempSync(join(tmpdir(), 'fanfare-worker-'))
  afterThisTest(() => rmSync(directory, { recursive: true, force: true }))
  const file = join(directory, 'worker.mjs')
  const source = join(ROOT, 'dist/src')
  writeFileSync(
    file,
    `import { Metrics } from '${source}/metrics/metrics.js'
    import { Node } from '${source}/node/node.js'
    ${change}
    await import('${source}/workers/worker.js')
    process.send('loaded')`,
  )
  const worker = fork(file, { serialization: 'advanced', silent: true })
  afterThisTest(() => worker.kill('SIGKILL'))
  const logged = new EventLog<LogLine>()
  if (worker.stdout === null) throw new Error('the output is not piped')
  createInterface(worker.stdout).on('line', (line) => {
    const entry = JSON.parse(line) as LogLine & { level: string }
    if (entry.level === 'error') logged.add(entry)
  })
  await once(worker, 'message')
  const options = { port: 0, logLevel: 'error', logFormat: 'json', authTokens: 'secret', drainWindow: 0 }
  const { config, problems } = loadConfig({ options })
  expect(problems).toEqual([])
  const listening = new Promise<void>((resolve) => {
    worker.on('message', ({ type }: FromWorker) => type === 'listening' && resolve())
  })
  send(worker, { type: 'start', config, worker: 1 })
  await listening
  return { worker, logged }
}

function send(worker: ChildProcess, message: ToWorker): void {
  worker.send(message)
}

it('a worker that cannot report says why, and goes on', async () => {
  const { worker, logged } = await startWorker(`
    const { snapshot } = Metrics.prototype
    let failures = 1
    Metrics.prototype.snapshot = function () {
      return failures-- > 0 ? Promise.reject(new Error('no snapshot')) : snapshot.call(this)
    }`)
  send(worker, { type: 'report', id: 1 })
  const [line] = await logged.first(1)
  expect(line).toMatchObject({
    msg: 'a report to the supervisor failed',
    err: { message: 'no snapshot' },
  })
  const reported = new Promise((resolve) => {
    worker.on('message', (message: FromWorker) => message.type === 'report' && resolve(message.id))
  })
  send(worker, { type: 'report', id: 2 })
  expect(await reported).toBe(2)
})

it('a worker that cannot drain says why, and ends with exit code 1', async () => {
  const { worker, logged } = await startWorker(
    `Node.prototype.drain = () => Promise.reject(new Error('no drain'))`,
  )
  const exited = once(worker, 'exit')
  send(worker, { type: 'drain' })
  const [line] = await logged.first(1)
  expect(line).toMatchObject({ msg: 'the drain failed', err: { message: 'no drain' } })
  expect(await exited).toEqual([1, null])
})
