import { readFileSync } from 'node:fs'
import { request } from 'node:https'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FanfareProcess, runFanfare } from '../../deploy/local/fanfare-process.js'
import { RawClient } from '../support/raw-client.js'
import { CERT_PATH, KEY_PATH } from '../support/tls/files.js'

const ca = readFileSync(CERT_PATH)

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
      FANFARE_TLS_CERT: CERT_PATH,
      FANFARE_TLS_KEY: KEY_PATH,
      FANFARE_INTERNAL_TLS_CERT: CERT_PATH,
      FANFARE_INTERNAL_TLS_KEY: KEY_PATH,
    })
    address = `127.0.0.1:${node.port}`
  })
  afterAll(() => node.child.stop())

  it('accepts wss:// and https://, and no plain connections', async () => {
    const open = () => RawClient.connect(`wss://${address}/ws/room`, { token: 'secret', ca })
    const [publisher, subscriber] = await Promise.all([open(), open()])
    publisher.send('in private')
    expect(await subscriber.nextText()).toBe('in private')
    await expect(RawClient.connect(`ws://${address}/ws/room`, { token: 'secret' })).rejects.toThrow()
  })

  it('answers its readiness over https:// too', async () => {
    expect(await status(`https://127.0.0.1:${node.internalPort}/ready`)).toBe(200)
  })

  it('accepts the monitor over wss://', async () => {
    const monitor = runFanfare(
      ['monitor', `wss://${address}`, '--token', 'secret', '--report', '100ms'],
      {},
      { env: { NODE_EXTRA_CA_CERTS: CERT_PATH } },
    )
    await monitor.line(/connected to wss:/)
    expect(await monitor.stop('SIGINT')).toEqual({ code: 0, signal: null })
  })
})
