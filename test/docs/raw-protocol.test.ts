import { afterEach, describe, expect, it } from 'vitest'
import { API_KEY, callApi } from '../support/api.js'
import { afterThisTest, cleanUp } from '../support/clean-ups.js'
import { runJavaScript, startExampleNode } from '../support/examples.js'
import { codesIn, Page } from '../support/page.js'
import { RawClient, refusalOf } from '../support/raw-client.js'
import { SdkClient } from '../support/sdk-client.js'

afterEach(cleanUp)

const page = new Page('docs/raw-protocol.md')
const WITH_TOKEN = { token: 'change-me' }

describe('the page about the raw protocol', () => {
  it('has the places of a token in their order of precedence', async () => {
    const node = await startExampleNode({ FANFARE_AUTH_TOKENS: 'alice=change-me,first=1,second=2' })
    const rows = page.rows('token-places').map(({ cells }) => codesIn(cells[1] ?? '')[0] ?? '')
    /** Resolves with the user of a client that sends these tokens in these places. */
    const userWith = async (...places: string[]): Promise<unknown> => {
      const headers = Object.fromEntries(
        places
          .map((place) => place.split(': '))
          .filter(([name = '', value]) => value !== undefined && !name.startsWith('Sec-')),
      ) as Record<string, string>
      const query = places.find((place) => place.startsWith('/ws/')) ?? '/ws/room'
      const subprotocols = places.flatMap((place) => /^Sec-WebSocket-Protocol: (.*)$/.exec(place)?.[1] ?? [])
      const url = `${node.wsUrl}${query}${query.includes('?') ? '&' : '?'}events=join`
      const client = await RawClient.connect(url, { headers, subprotocols })
      const { user } = JSON.parse(await client.nextText()) as { user: string }
      client.close()
      return user
    }
    expect(rows.length).toBe(4)
    for (const place of rows) expect(await userWith(place), `${page.path}: ${place}`).toBe('alice')
    for (const [index, place] of rows.entries()) {
      const later = rows[index + 1]
      if (later === undefined) continue
      const both = [place.replace('change-me', '1'), later.replace('change-me', '2')]
      expect(await userWith(...both), `${place} goes before ${later}`).toBe('first')
    }
  })

  it('has a row for every status of a refused handshake', async () => {
    const node = await startExampleNode({
      FANFARE_MAX_CONNECTIONS: '1',
      FANFARE_NAMESPACES: '[{"name":"","allow_subscribe_for_client":true}]',
    })
    const refused = async (path: string, options = {}) =>
      (await refusalOf(RawClient.connect(`${node.wsUrl}${path}`, options))).status
    const statuses = new Set([
      await refused('/ws/', WITH_TOKEN),
      await refused('/ws/room?events=everything', WITH_TOKEN),
      await refused('/connection/websocket', { subprotocols: ['centrifuge-protobuf'] }),
      await refused('/ws/room'),
      await refused('/ws/room', { token: 'wrong' }),
      await refused('/ws/room', { ...WITH_TOKEN, origin: 'https://elsewhere.example' }),
      await refused('/ws/nowhere:room', WITH_TOKEN),
      (await fetch(`${node.httpUrl}/ws/room`)).status,
    ])
    const only = await RawClient.connect(`${node.wsUrl}/ws/room`, WITH_TOKEN)
    statuses.add(await refused('/ws/room', WITH_TOKEN))
    only.close()
    const documented = page.rows('refusals').map(({ cells }) => Number(cells[0]))
    expect(documented, page.where('refusals')).toEqual([...statuses].sort((a, b) => a - b))
  })

  it('has a client in JavaScript that works, and reconnects when its node stops', async () => {
    const node = await startExampleNode()
    const subscriber = await SdkClient.connect(node.wsUrl, WITH_TOKEN)
    afterThisTest(() => subscriber.close())
    const room = await subscriber.subscribe('room')
    const client = runJavaScript(node, page.code('javascript'))
    expect(await room.data(1)).toEqual([{ text: 'hello from JavaScript' }])
    await room.sdk.publish('hello back')
    await client.line(/"hello back"/)
    await node.child.stop()
    await client.line(/ECONNREFUSED/)
  })

  it('has a client in JavaScript that prints why it is refused, and ends when it is closed for good', async () => {
    const node = await startExampleNode({ FANFARE_API_KEY: API_KEY })
    const refused = runJavaScript(node, page.code('javascript').replace('token.change-me', 'token.wrong'))
    await refused.line(/401/)
    const subscriber = await RawClient.connect(`${node.wsUrl}/ws/room`, WITH_TOKEN)
    const client = runJavaScript(node, page.code('javascript'))
    await subscriber.next()
    await callApi(node, 'disconnect', { user: 'alice' })
    expect(await client.exited).toEqual({ code: 0, signal: null })
  })
})
