import { readdirSync, readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Child } from '../../deploy/local/child-process.js'
import { freePort } from '../../deploy/local/free-port.js'
import { PackedPackage } from '../support/packed-package.js'
import { SdkClient } from '../support/sdk-client.js'

const APPLICATION = readFileSync(new URL('../support/application.ts', import.meta.url), 'utf8')

describe('the package', () => {
  let project: PackedPackage
  beforeAll(async () => {
    project = await PackedPackage.install()
  })
  afterAll(() => project.remove())

  it('contains the command, the library and its types, and no files for developers', () => {
    const rest = project.files.filter((path) => !path.startsWith('dist/src/'))
    expect(rest.sort()).toEqual(['LICENSE', 'README.md', 'package.json'])
    expect(project.files).toEqual(
      expect.arrayContaining(['dist/src/main.js', 'dist/src/index.js', 'dist/src/index.d.ts']),
    )
    const scripts = readdirSync(new URL('../../src/redis/lua/', import.meta.url))
    const expected = [...rest, ...scripts.map((name) => `dist/src/redis/lua/${name}`)]
    expect(project.files.filter((path) => !/\.(js|d\.ts)$/.test(path)).sort()).toEqual(expected.sort())
  })

  it('has types with which the compiler finds a wrong setting, hook or value', async () => {
    const wrong = [
      `import { createNode } from 'fanfare'`,
      `await createNode({ settings: { prot: 8000 } })`,
      `await createNode({ settings: { workers: 2 } })`,
      `await createNode({ hooks: { connect: () => ({ name: 'alice' }) } })`,
    ]
    const failure = await project.compile(wrong.join('\n')).then(
      () => '',
      (error: Error) => error.message,
    )
    const lines = [...failure.matchAll(/main\.ts\((\d+),\d+\): error/g)].map(([, line]) => Number(line))
    expect(lines).toEqual([2, 3, 4])
  })

  it('runs an application with all hooks', async () => {
    const main = await project.compile(APPLICATION)
    const [port, internalPort] = [await freePort(), await freePort()]
    const application = new Child(process.execPath, [main], {
      cwd: project.directory,
      env: { ...process.env, PORT: String(port), INTERNAL_PORT: String(internalPort) },
    })
    await application.line(new RegExp(`chat on port ${port}`))
    const wsUrl = `ws://127.0.0.1:${port}`

    const refused = new SdkClient(wsUrl, { token: 'wrong' })
    refused.sdk.connect()
    expect((await refused.disconnected.first(1))[0]).toMatchObject({
      code: 103,
      reason: 'permission denied: log in first',
    })

    const alice = await SdkClient.connect(wsUrl, { token: 'token-of-alice', getToken: async () => 'unused' })
    expect(alice.connected.items[0]?.data).toEqual({ rooms: ['chat:lobby', 'chat:staff'] })
    const bob = await SdkClient.connect(wsUrl, { token: 'token-of-bob', getToken: async () => 'unused' })
    const lobby = await alice.subscribe('chat:lobby')
    expect(lobby.subscribed.items[0]?.data).toEqual({ topic: 'all about chat:lobby' })
    await bob.subscribe('chat:lobby')
    const staff = bob.add('chat:staff')
    expect((await staff.unsubscribed.first(1))[0]).toMatchObject({ code: 103 })

    await bob.sdk.publish('chat:lobby', { text: 'darn' })
    await expect(bob.sdk.publish('chat:lobby', { no: 'text' })).rejects.toMatchObject({ code: 107 })
    const [published] = await lobby.publications.first(1)
    expect(published).toMatchObject({
      data: { text: '****' },
      info: { user: '42', connInfo: { name: 'Bob' } },
    })

    await bob.sdk.send({ typing: true })
    expect(await lobby.data(2)).toEqual([{ text: '****' }, { typing: '42' }])

    const { data } = await alice.sdk.rpc('names', 'chat:lobby')
    expect(data).toEqual(expect.arrayContaining([{ name: 'Alice' }, { name: 'Bob' }]))
    await expect(alice.sdk.rpc('nonsense', {})).rejects.toMatchObject({ code: 104 })

    bob.close()
    await application.line(/^42 has left \(\d+\)$/)
    expect((await application.stop()).code).toBe(0)
    await application.line(/^17 has left \(3001\)$/)
    alice.close()
  })
})
