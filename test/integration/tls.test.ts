import { readFileSync } from 'node:fs'
import { request } from 'node:https'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FanfareProcess, runFanfare } from '../support/fanfare-process.js'
import { RawClient } from '../support/raw-client.js'

const path = (name: string) => fileURLToPath(new URL(`../support/tls/${name}`, import.meta.url))
const CERT = path('cert.pem')
const KEY = path('key.pem')
const ca = readFileSync(CERT)

function status(url: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    request(url, { ca }, (response) => resolve(response.resume().statusCode))
      .once('error', reject)
      .end()
  })
}

describe('a node with certificates', () => {
  let node: FanfareProcess
  let address: string

  beforeAll(async () => {
    node = await FanfareProcess.start({
      FANFARE_AUTH_TOKENS: 'secret',
      FANFARE_TLS_CERT: CERT,
      FANFARE_TLS_KEY: KEY,
      FANFARE_INTERNAL_TLS_CERT: CERT,
      FANFARE_INTERNAL_TLS_KEY: KEY,
    })
    address = `127.0.0.1:${node.port}`
  })
  afterAll(() => node.child.stop())

  it('speaks wss:// and https://, and nothing else', async () => {
    const open = () => RawClient.connect(`wss://${address}/ws/room`, { token: 'secret', ca })
    const [speaker, listener] = await Promise.all([open(), open()])
    speaker.send('in private')
    expect(await listener.nextText()).toBe('in private')
    await expect(RawClient.connect(`ws://${address}/ws/room`, { token: 'secret' })).rejects.toThrow()
  })

  it('is asked for its health over https:// too', async () => {
    expect(await status(`https://127.0.0.1:${node.internalPort}/ready`)).toBe(200)
  })

  it('is watched over wss:// by the monitor', async () => {
    const monitor = runFanfare(
      ['monitor', `wss://${address}`, '--token', 'secret', '--report', '100ms'],
      {},
      { env: { NODE_EXTRA_CA_CERTS: CERT } },
    )
    await monitor.line(/connected to wss:/)
    expect(await monitor.stop('SIGINT')).toEqual({ code: 0, signal: null })
  })
})
