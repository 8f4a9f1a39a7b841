import { copyFile, mkdtemp, rm } from 'node:fs/promises'
import { type IncomingMessage, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import type { HttpResponse, Socket, TransportOptions } from '../../src/transport/transport.js'
import { UwsTransport } from '../../src/transport/uws/uws-transport.js'
import { RawClient } from '../support/raw-client.js'
import { CERT_PATH, KEY_PATH } from '../support/tls/files.js'

let transport: UwsTransport
let sockets: Socket[]
afterEach(() => transport.close())

/** Starts a transport. Resolves with its host and port. */
async function listen(
  response: HttpResponse,
  subprotocol: string,
  tls?: TransportOptions['tls'],
): Promise<string> {
  sockets = []
  const handler = {
    opened: (socket: Socket) => sockets.push(socket),
    message: () => undefined,
    markAlive: () => undefined,
    overflowed: () => undefined,
    closed: () => undefined,
  }
  transport = new UwsTransport({
    maxSockets: 100,
    onSocketRefused: () => undefined,
    tls,
    onDefect: (error) => {
      throw error
    },
  })
  transport.addRoutes({
    webSockets: [
      {
        path: '/socket',
        maxFrameBytes: 1024,
        maxQueueBytes: 65_536,
        handshake: () => ({ handler, subprotocol, abandoned: () => undefined }),
      },
    ],
    http: [{ path: '/*', maxBodyBytes: 0, handle: () => response }],
  })
  return `127.0.0.1:${await transport.listen({ host: '127.0.0.1', port: 0 })}`
}

/** Resolves with the answer. Node decodes headers as Latin-1, one character for each byte. */
function get(url: string, headers = {}): Promise<{ head: IncomingMessage; body: Buffer }> {
  return new Promise((resolve, reject) => {
    request(url, { headers, agent: false }, (head) => {
      const chunks: Buffer[] = []
      head.on('data', (chunk: Buffer) => chunks.push(chunk))
      head.on('end', () => resolve({ head, body: Buffer.concat(chunks) }))
    })
      .on('upgrade', (head, socket) => {
        socket.destroy()
        resolve({ head, body: Buffer.alloc(0) })
      })
      .on('error', reject)
      .end()
  })
}

function bytesOf(header: string | string[] | undefined): string {
  return Buffer.from(String(header), 'latin1').toString('utf8')
}

/** The same text in the form in which V8 stores a slice of a string with wider characters. */
function cutOut(text: string): string {
  return `${text}${'€'.repeat(20)}`.slice(0, text.length)
}

describe.each([
  ['é and ß', 'the café in the main straße'],
  ['€ and emoji', 'the € and the 😀'],
])('the transport, given a text with %s', (_what, text) => {
  it('sends it as UTF-8 in bodies and headers', async () => {
    const address = await listen({ status: 200, headers: { 'X-Text': text }, body: text }, '')
    const { head, body } = await get(`http://${address}/`)
    expect(body.toString()).toBe(text)
    expect(bytesOf(head.headers['x-text'])).toBe(text)
  })

  it('sends it as UTF-8 as the subprotocol', async () => {
    const address = await listen({ status: 404 }, text)
    const { head } = await get(`http://${address}/socket`, {
      Connection: 'Upgrade',
      Upgrade: 'websocket',
      'Sec-WebSocket-Version': '13',
      'Sec-WebSocket-Key': 'AAAAAAAAAAAAAAAAAAAAAA==',
      'Sec-WebSocket-Protocol': 'any',
    })
    expect(head.statusCode).toBe(101)
    expect(bytesOf(head.headers['sec-websocket-protocol'])).toBe(text)
  })

  it('sends it as UTF-8 as the reason of a close', async () => {
    const client = await RawClient.connect(`ws://${await listen({ status: 404 }, '')}/socket`)
    sockets[0]?.close({ code: 4000, reason: text })
    expect(await client.closed).toEqual({ code: 4000, reason: text })
  })

  it('uses one topic for it, however V8 stores the string', async () => {
    const url = `ws://${await listen({ status: 404 }, '')}/socket`
    const clients = [await RawClient.connect(url), await RawClient.connect(url)]
    const [first, second] = sockets
    first?.subscribe(text)
    second?.subscribe(cutOut(text))
    transport.broadcast(text, Buffer.from('to all'), false)
    transport.broadcast(cutOut(text), Buffer.from('to all again'), false)
    first?.broadcastToOthers(text, Buffer.from('to the second'), false)
    second?.broadcastToOthers(text, Buffer.from('to the first'), false)
    expect(await clients[0]?.nextTexts(3)).toEqual(['to all', 'to all again', 'to the first'])
    expect(await clients[1]?.nextTexts(3)).toEqual(['to all', 'to all again', 'to the second'])
    first?.unsubscribe(cutOut(text))
    transport.broadcast(text, Buffer.from('to the second alone'), false)
    first?.send(Buffer.from('the end'), false)
    expect(await clients[0]?.nextText()).toBe('the end')
    expect(await clients[1]?.nextText()).toBe('to the second alone')
  })

  it('separates its topic from the topic whose characters are its bytes', async () => {
    const url = `ws://${await listen({ status: 404 }, '')}/socket`
    const client = await RawClient.connect(url)
    sockets[0]?.subscribe(Buffer.from(text).toString('latin1'))
    transport.broadcast(text, Buffer.from('to another topic'), false)
    sockets[0]?.send(Buffer.from('the end'), false)
    expect(await client.nextText()).toBe('the end')
  })

  it('finds certificates in a folder of that name', async () => {
    const folder = await mkdtemp(join(tmpdir(), `${text}-`))
    try {
      const [certPath, keyPath] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
      await copyFile(CERT_PATH, certPath)
      await copyFile(KEY_PATH, keyPath)
      const address = await listen({ status: 404 }, '', { certPath, keyPath })
      const client = await RawClient.connect(`wss://${address}/socket`, { rejectUnauthorized: false })
      client.close()
      await client.closed
    } finally {
      await rm(folder, { recursive: true })
    }
  })
})
