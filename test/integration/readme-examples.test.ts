import { readFileSync } from 'node:fs'
import { afterEach, describe, expect, it } from 'vitest'
import { API_SCHEMAS } from '../../src/http/api-schemas.js'
import { HOOK_NAMES } from '../../src/session/hooks.js'
import { API_KEY, callApi } from '../support/api.js'
import { Child } from '../support/child-process.js'
import { afterThisTest, cleanUp } from '../support/clean-ups.js'
import { FanfareProcess, runFanfare } from '../support/fanfare-process.js'
import { RawClient } from '../support/raw-client.js'
import { readme, section, tableRows } from '../support/readme.js'
import { SdkClient } from '../support/sdk-client.js'

afterEach(cleanUp)

/** What the `export` lines of a section set. */
function exported(name: string): Record<string, string> {
  const assignments = section(name).matchAll(/(FANFARE_\w+)=('[^']*'|\S+)/g)
  return Object.fromEntries(
    [...assignments].map(([, key = '', value = '']) => [key, value.replaceAll("'", '')]),
  )
}

/** The node that the README tells to start for its examples. */
async function startNode(settings: Record<string, string> = {}): Promise<FanfareProcess> {
  const node = await FanfareProcess.start({ ...exported('examples-node'), ...settings })
  afterThisTest(() => node.child.stop())
  return node
}

/** A script of the README that holds this text, running against a node. */
function run(text: string, node: FanfareProcess, change = (script: string) => script): Child {
  const scripts = [...readme().matchAll(/```js\n([\s\S]*?)```/g)].map(([, script = '']) => script)
  const script = scripts.find((one) => one.includes(text))
  if (script === undefined) throw new Error(`the README has no script with ${text}`)
  const client = new Child(process.execPath, ['--input-type=module', '-e', change(script)], {
    env: { ...process.env, URL: node.wsUrl },
  })
  afterThisTest(() => client.stop())
  return client
}

describe('the README’s examples', () => {
  it('have a raw client in JavaScript that works', async () => {
    const node = await startNode()
    const witness = await RawClient.connect(`${node.wsUrl}/ws/room`, { token: 'change-me' })
    const client = run('hello from JavaScript', node)
    expect(await witness.nextText()).toBe('{"text":"hello from JavaScript"}')
    witness.send('hello back')
    await client.line(/hello back/)
    await node.child.stop()
    // It was closed with 1001, and tries again.
    await client.line(/ECONNREFUSED/)
  })

  it('have a raw client in JavaScript that says why it is refused, and ends when it is put out', async () => {
    const node = await startNode({ FANFARE_API_KEY: API_KEY })
    const refused = run('hello from JavaScript', node, (script) =>
      script.replace('token.change-me', 'token.wrong'),
    )
    await refused.line(/401/)
    const witness = await RawClient.connect(`${node.wsUrl}/ws/room`, { token: 'change-me' })
    const client = run('hello from JavaScript', node)
    await witness.next()
    await callApi(node, 'disconnect', { user: 'alice' })
    expect(await client.exited).toEqual({ code: 0, signal: null })
  })

  it('have settings with which the command makes tokens and publishes', async () => {
    const node = await startNode()
    const settings = { ...exported('examples-node'), FANFARE_PORT: String(node.port) }
    const minted = runFanfare(['token', '--user', 'bob'], settings)
    await minted.exited
    const bob = await RawClient.connect(`${node.wsUrl}/ws/room`, { token: minted.output })
    expect((await runFanfare(['publish', 'room', 'hello'], settings).exited).code).toBe(0)
    expect(await bob.nextText()).toBe('"hello"')
    expect(node.child.output).not.toContain('"level":40')
  })

  it('have a client with the SDK that says when it may not publish', async () => {
    const node = await startNode({ FANFARE_NAMESPACES: '[{"name":"","allow_subscribe_for_client":true}]' })
    const client = run('hello from the SDK', node)
    await client.line(/refused: 103 permission denied/)
  })

  it('have a client with the SDK that works', async () => {
    const node = await startNode()
    const witness = await SdkClient.connect(node.wsUrl, { token: 'change-me' })
    afterThisTest(() => witness.close())
    const room = await witness.subscribe('room')
    const client = run('hello from the SDK', node)
    expect(await room.data(1)).toEqual([{ text: 'hello from the SDK' }])
    await client.line(/alice says { text: 'hello from the SDK' }/)
    await node.child.stop()
    await client.line(/connecting 3001 shutdown/)
  })

  it('call every method of the server API, with success', async () => {
    const [, key = ''] = /KEY='X-API-Key: (.*)'/.exec(section('api-examples')) ?? []
    const node = await startNode({
      FANFARE_API_KEY: key,
      ...exported('api-namespaces'),
    })
    const alice = await SdkClient.connect(node.wsUrl, {
      token: 'change-me',
      getToken: async () => 'change-me',
    })
    afterThisTest(() => alice.close())
    const calls = [...section('api-examples').matchAll(/^curl "\$API\/(\w+)" -H "\$KEY" -d '(.*)'$/gm)]
    expect(calls.map(([, method]) => method).sort()).toEqual(Object.keys(API_SCHEMAS).sort())
    const counts: unknown[] = []
    for (const [, method = '', body] of calls) {
      const answer = await callApi(node, method, body, { 'X-API-Key': key })
      expect(answer, method).toEqual({ status: 200, body: { result: expect.any(Object) } })
      expect(JSON.stringify(answer.body), method).not.toContain('"error"')
      if (answer.body.result !== undefined && 'num_clients' in answer.body.result) {
        counts.push(answer.body.result['num_clients'])
      }
    }
    // Of presence_stats none: alice has been taken out of the channel.
    expect(counts).toEqual([1, 1, 1, 0, 1])
    expect((await alice.disconnected.first(1))[0]).toMatchObject({
      code: 4900,
      reason: 'your account is closed',
    })
  })

  it('have the application that is tested', () => {
    const application = readFileSync(new URL('../support/application.ts', import.meta.url), 'utf8')
    expect(section('application').trim()).toBe(`\`\`\`ts\n${application}\`\`\``)
  })

  it('use every hook that there is', () => {
    const documented = tableRows(section('hooks')).map(([hook]) => hook?.replaceAll('`', ''))
    expect(documented).toEqual(HOOK_NAMES)
    for (const hook of HOOK_NAMES) {
      expect(section('application')).toMatch(new RegExp(`^ {4}${hook}: `, 'm'))
    }
  })
})
