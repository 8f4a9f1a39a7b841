import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { unsigned } from './forged-jwt.js'

/** A key pair of an issuer, with the `kid` that tokens name it by. */
export class IssuerKey {
  private readonly pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })

  constructor(readonly id: string) {}

  get jwk(): object {
    return { ...this.pair.publicKey.export({ format: 'jwk' }), kid: this.id, alg: 'ES256', use: 'sig' }
  }

  get publicKey(): KeyObject {
    return this.pair.publicKey
  }

  token(claims: object, header: object = {}): string {
    const input = unsigned(claims, { alg: 'ES256', kid: this.id, ...header })
    const key = { key: this.pair.privateKey, dsaEncoding: 'ieee-p1363' } as const
    return `${input}.${sign('sha256', Buffer.from(input), key).toString('base64url')}`
  }
}

/** An HTTP server that publishes keys, as an issuer of tokens does. */
export class Issuer {
  requests = 0
  /** Answers its requests. */
  handle: RequestListener = (_request, response) => response.writeHead(404).end()
  private readonly server: Server
  private port = 0

  constructor() {
    this.server = createServer((request, response) => {
      this.requests++
      this.handle(request, response)
    })
  }

  /** Listens on a free port, and on the same one again after `stop`. */
  async start(): Promise<void> {
    await new Promise<void>((resolve) => this.server.listen(this.port, '127.0.0.1', resolve))
    this.port = (this.server.address() as AddressInfo).port
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections()
    await new Promise((resolve) => this.server.close(resolve))
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}/keys.json`
  }

  publish(...keys: (IssuerKey | object)[]): void {
    const jwks = keys.map((key) => (key instanceof IssuerKey ? key.jwk : key))
    this.answer(JSON.stringify({ keys: jwks }))
  }

  answer(body: string, status = 200): void {
    this.handle = (_request, response) => response.writeHead(status).end(body)
  }
}
