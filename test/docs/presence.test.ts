import { createSigner } from 'fast-jwt'
import { afterEach, describe, expect, it } from 'vitest'
import { callApi } from '../support/api.js'
import { afterThisTest, cleanUp } from '../support/clean-ups.js'
import { exampleSettings, runJavaScript, startExampleNode } from '../support/examples.js'
import { codesIn, Page } from '../support/page.js'
import { RawClient } from '../support/raw-client.js'
import { SdkClient } from '../support/sdk-client.js'

afterEach(cleanUp)

const page = new Page('docs/presence.md')

describe('the page about presence', () => {
  it('has a client that prints the presence, joins and leaves', async () => {
    const node = await startExampleNode()
    const client = runJavaScript(node, page.code('client'))
    await client.line(/^here: \[ 'alice' \]$/)
    await client.line(/^1 clients, 1 users$/)
    const printedBefore = client.lines.length
    const other = await RawClient.connect(`${node.wsUrl}/ws/room`, { token: 'change-me' })
    const nextOf = (what: string) => client.nextLine(new RegExp(`^${what}: alice$`))
    if (!client.lines.slice(printedBefore).includes('joined: alice')) await nextOf('joined')
    const left = nextOf('left')
    other.close()
    await left
  })

  it('has the fields of a client', async () => {
    const node = await startExampleNode()
    const { FANFARE_AUTH_HMAC_SECRET: key = '', FANFARE_API_KEY: apiKey = '' } = exampleSettings()
    const sign = createSigner({ key, algorithm: 'HS256' })
    const client = await SdkClient.connect(node.wsUrl, { token: sign({ sub: '17', info: 1 }) })
    afterThisTest(() => client.close())
    const channel = 'room'
    await client.subscribe(channel, { token: sign({ sub: '17', channel, info: 2 }) })
    const { body } = await callApi(node, 'presence', { channel }, { 'X-API-Key': apiKey })
    const [present] = Object.values(body.result?.['presence'] ?? {}) as object[]
    const documented = page.rows('fields').flatMap(({ cells: [field = ''] }) => codesIn(field))
    expect(documented.toSorted(), page.where('fields')).toEqual(Object.keys(present ?? {}).sort())
  })

  it('has joins and leaves in the form that raw clients receive', async () => {
    const node = await startExampleNode()
    const open = () => RawClient.connect(`${node.wsUrl}/ws/room?events=join,leave`, { token: 'change-me' })
    const watcher = await open()
    const frames = [await watcher.nextText()]
    const other = await open()
    await watcher.nextText()
    other.close()
    frames.push(await watcher.nextText())
    const form = (frame: string) => frame.replace(/"client":"[\w-]{36}"/, 'client').replace(/\d+/, 'number')
    const documented = page.code('raw-events').trim().split('\n')
    expect(documented.map(form), page.where('raw-events')).toEqual(frames.map(form))
  })
})
