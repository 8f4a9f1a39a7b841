import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { FanfareProcess, runFanfare } from '../support/fanfare-process.js'
import { freePort } from '../support/free-port.js'
import { Issuer, IssuerKey } from '../support/issuer.js'
import { eventually, metric } from '../support/metric.js'
import { RawClient, refusalOf } from '../support/raw-client.js'
import { SdkClient } from '../support/sdk-client.js'

describe('a node whose tokens come from an issuer with published keys', () => {
  const issuer = new Issuer()
  const key = new IssuerKey('first')
  const nextKey = new IssuerKey('next')
  const stops: (() => Promise<unknown>)[] = []

  beforeEach(() => issuer.start())
  afterEach(async () => {
    for (const stop of stops.splice(0)) await stop()
    await issuer.stop()
  })

  const start = async () => {
    const node = await FanfareProcess.start({ FANFARE_AUTH_JWKS_URL: issuer.url })
    stops.push(() => node.child.stop())
    return node
  }

  it('lets raw and SDK clients in', async () => {
    issuer.publish(key)
    const node = await start()
    const raw = await RawClient.connect(`${node.wsUrl}/ws/room`, { token: key.token({ sub: 'ann' }) })
    const sdk = await SdkClient.connect(node.wsUrl, { token: key.token({ sub: 'bob' }) })
    const heard = await sdk.subscribe('room')
    raw.send('hello')
    expect(await heard.data(1)).toEqual(['hello'])
    expect(metric(await node.metrics(), 'fanfare_auth_keys')).toBe(1)
    const refusal = await refusalOf(
      RawClient.connect(`${node.wsUrl}/ws/room`, { token: nextKey.token({ sub: 'eve' }, { kid: 'first' }) }),
    )
    expect(refusal.status).toBe(401)
    raw.close()
    sdk.close()
  })

  it('asks for a new key when it is used, and tells clients to come back meanwhile', async () => {
    issuer.publish(key)
    const node = await start()
    const token = nextKey.token({ sub: 'ann' })
    // Until the next fetch is not too soon, it is a wrong token like others.
    await eventually(async () => {
      const refusal = await refusalOf(RawClient.connect(`${node.wsUrl}/ws/room`, { token }))
      if (refusal.status === 401) return false
      expect(refusal.status).toBe(503)
      expect(Number(refusal.headers['retry-after'])).toBeGreaterThan(0)
      return true
    }, 'the key may be known soon')
    issuer.answer('out of order', 500)
    await eventually(
      async () => metric(await node.metrics(), 'fanfare_auth_key_fetches_total', '{result="failed"}') > 0,
      'a fetch failed',
    )
    const sdk = new SdkClient(node.wsUrl, { token })
    sdk.sdk.connect()
    expect(await sdk.errors.first(1)).toMatchObject([{ code: 100 }])
    issuer.publish(key, nextKey)
    await sdk.connected.first(1)
    sdk.close()
  })

  it('is not ready before it has the keys, says so once, and goes on trying', async () => {
    issuer.answer('out of order', 500)
    const internalPort = String(await freePort())
    const child = runFanfare(['serve'], {
      FANFARE_LOG_FORMAT: 'json',
      FANFARE_PORT: '0',
      FANFARE_INTERNAL_PORT: internalPort,
      FANFARE_AUTH_JWKS_URL: issuer.url,
    })
    stops.push(() => child.stop())
    await child.line(/not ready: the keys of tokens cannot be fetched/)
    const ready = await fetch(`http://127.0.0.1:${internalPort}/ready`)
    expect(ready.status).toBe(503)
    expect(await ready.text()).toContain('starting')
    await eventually(async () => issuer.requests >= 3, 'it tries again')
    issuer.publish(key)
    await child.line(/"msg":"ready"/)
    expect(child.lines.filter((line) => line.includes('not ready'))).toHaveLength(1)
  })
})
