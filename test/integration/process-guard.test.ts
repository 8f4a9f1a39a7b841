import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Child } from '../../deploy/local/child-process.js'
import { ROOT } from '../support/repository.js'

/** Starts a program that starts another one with the Child of tests and load runs. */
function startParent(program: string, afterwards: string): Child {
  const source = `
    import { Child } from ${JSON.stringify(join(ROOT, 'dist/deploy/local/child-process.js'))}
    const child = new Child(process.execPath, ['-e', ${JSON.stringify(program)}])
    await child.line(/^connected/)
    ${afterwards}`
  return new Child(process.execPath, ['--input-type=module', '-e', source])
}

describe('a process started by another one', () => {
  let server: Server
  beforeAll(async () => {
    server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
  })
  afterAll(() => {
    server.close()
  })

  /** A program that connects to the test and stays. The system closes its connection when it has ended. */
  function connecting(): string {
    const { port } = server.address() as AddressInfo
    return `require('net').connect(${port}, '127.0.0.1', () => console.log('connected'))`
  }

  async function connection(): Promise<Socket> {
    const [socket] = (await once(server, 'connection')) as [Socket]
    // A process that is killed may reset it.
    return socket.on('error', () => undefined)
  }

  it.each(['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGKILL'] as const)(
    'ends when %s ends the other one',
    async (signal) => {
      const connected = connection()
      const parent = startParent(connecting(), "console.log('started')")
      const socket = await connected
      await parent.line(/^started/)
      const closed = once(socket.resume(), 'close')
      parent.kill(signal)
      expect(await parent.exited).toEqual({ code: null, signal })
      await closed
    },
  )

  it.each([
    ['exits', 'process.exit(3)', { code: 3, signal: null }],
    ['throws an uncaught error', "throw new Error('a defect')", { code: 1, signal: null }],
    ['crashes', 'process.abort()', { code: null, signal: 'SIGABRT' }],
  ])('ends when the other one %s', async (_how, afterwards, exit) => {
    const connected = connection()
    const parent = startParent(connecting(), afterwards)
    const closed = once((await connected).resume(), 'close')
    expect(await parent.exited).toEqual(exit)
    await closed
  })

  it('ends together with the processes that it has started itself', async () => {
    const connected = connection()
    const program = `
      const { spawn } = require('child_process')
      spawn(process.execPath, ['-e', ${JSON.stringify(connecting())}], { stdio: 'inherit' })`
    const parent = startParent(program, 'process.abort()')
    await once((await connected).resume(), 'close')
    expect(await parent.exited).toEqual({ code: null, signal: 'SIGABRT' })
  })
})
