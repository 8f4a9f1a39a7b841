import { afterEach, expect, it } from 'vitest'
import type { Acceptance, HandshakeDecision } from '../../src/transport/transport.js'
import { UwsTransport } from '../../src/transport/uws/uws-transport.js'
import { RawClient, refusalOf } from '../support/raw-client.js'

let transport: UwsTransport
let abandoned = 0
const defects: unknown[] = []

/** An accepted handshake whose upgrade fails. */
const broken: Acceptance = {
  get handler(): never {
    throw new Error('no handler')
  },
  subprotocol: '',
  abandoned: () => {
    abandoned++
  },
}

async function listen(handshake: () => HandshakeDecision | Promise<HandshakeDecision>): Promise<string> {
  abandoned = 0
  defects.length = 0
  transport = new UwsTransport({
    maxSockets: 100,
    onSocketRefused: () => undefined,
    tls: undefined,
    onDefect: (error) => defects.push(error),
  })
  transport.addRoutes({
    webSockets: [{ path: '/*', maxFrameBytes: 1024, maxQueueBytes: 1024, handshake }],
    http: [],
  })
  return `ws://127.0.0.1:${await transport.listen({ host: '127.0.0.1', port: 0 })}/`
}

afterEach(() => transport.close())

it.each([
  ['at once', () => broken],
  ['later', () => new Promise<HandshakeDecision>((resolve) => setImmediate(() => resolve(broken)))],
])('abandons an accepted handshake when its upgrade fails %s', async (_, handshake) => {
  const refusal = await refusalOf(RawClient.connect(await listen(handshake)))
  expect(refusal.status).toBe(500)
  expect(abandoned).toBe(1)
  expect(defects).toEqual([new Error('no handler')])
})
