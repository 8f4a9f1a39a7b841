import { runInNewContext } from 'node:vm'
import { Centrifuge } from 'centrifuge'
import { afterEach, describe, expect, it } from 'vitest'
import WebSocket from 'ws'
import { CLIENT_REQUESTS } from '../../src/protocol/client-requests.js'
import { afterThisTest, cleanUp } from '../support/clean-ups.js'
import { EventLog } from '../support/event-log.js'
import { runJavaScript, startExampleNode } from '../support/examples.js'
import { codesIn, Page } from '../support/page.js'
import { RawClient } from '../support/raw-client.js'
import { SdkClient } from '../support/sdk-client.js'

afterEach(cleanUp)

const page = new Page('docs/sdk-protocol.md')

describe('the page about clients with an SDK', () => {
  it('has the commands of the code with their fields', () => {
    const documented = page
      .rows('commands')
      .map(({ cells: [command = '', fields = ''] }) => [codesIn(command)[0], codesIn(fields)])
    expect(documented, page.where('commands')).toEqual(
      Object.entries(CLIENT_REQUESTS).map(([command, { shape }]) => [command, Object.keys(shape)]),
    )
  })

  it('has a client in Node that works, and reconnects when its node stops', async () => {
    const node = await startExampleNode()
    const subscriber = await SdkClient.connect(node.wsUrl, { token: 'change-me' })
    afterThisTest(() => subscriber.close())
    const room = await subscriber.subscribe('room')
    const client = runJavaScript(node, page.code('javascript'))
    expect(await room.data(1)).toEqual([{ text: 'hello from the SDK' }])
    await client.line(/alice says { text: 'hello from the SDK' }/)
    await node.child.stop()
    await client.line(/connecting 3001 shutdown/)
  })

  it('has a client in Node that prints when it may not publish', async () => {
    const node = await startExampleNode({
      FANFARE_NAMESPACES: '[{"name":"","allow_subscribe_for_client":true}]',
    })
    const client = runJavaScript(node, page.code('javascript'))
    await client.line(/refused: 103 permission denied/)
  })

  it('has a client in a browser that works', async () => {
    const node = await startExampleNode()
    const appended = new EventLog<string>()
    /** The SDK of the page, with the address of the node and a WebSocket for Node. */
    class PageCentrifuge extends Centrifuge {
      constructor(url: string, options: object) {
        super(url.replace('wss://fanfare.example.com', node.wsUrl), { ...options, websocket: WebSocket })
        afterThisTest(() => this.disconnect())
      }
    }
    const script = /<script>\n([\s\S]*?)<\/script>/.exec(page.code('browser'))?.[1] ?? ''
    runInNewContext(script, {
      Centrifuge: PageCentrifuge,
      fetch: async () => new Response('change-me'),
      document: { body: { append: appended.add } },
    })
    const publisher = await RawClient.connect(`${node.wsUrl}/ws/room`, { token: 'change-me' })
    const publishing = setInterval(() => publisher.send('{"text":"hello"}'), 20)
    afterThisTest(() => clearInterval(publishing))
    expect(await appended.first(1)).toEqual(['hello '])
  })
})
