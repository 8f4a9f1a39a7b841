import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { FanfareProcess, runFanfare } from '../../deploy/local/fanfare-process.js'
import { freePort } from '../../deploy/local/free-port.js'
import { Issuer, IssuerKey } from '../support/issuer.js'
import { metric } from '../support/metric.js'
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

  it('accepts raw and SDK clients', async () => {
    issuer.publish(key)
    const node = await start()
    const raw = await RawClient.connect(`${node.wsUrl}/ws/room`, { token: key.token({ sub: 'ann' }) })
    const sdk = await SdkClient.connect(node.wsUrl, { token: key.token({ sub: 'bob' }) })
    const subscription = await sdk.subscribe('room')
    raw.send('hello')
    expect(await subscription.data(1)).toEqual(['hello'])
    expect(metric(await node.metrics(), 'fanfare_auth_keys')).toBe(1)
    const refusal = await refusalOf(
      RawClient.connect(`${node.wsUrl}/ws/room`, { token: nextKey.token({ sub: 'eve' }, { kid: 'first' }) }),
    )
    expect(refusal.status).toBe(401)
    raw.close()
    sdk.close()
  })

  it('is not ready before it has the keys, logs it once, and answers clients until then that they may retry', async () => {
    issuer.answer('out of order', 500)
    const [port, internalPort] = [String(await freePort()), String(await freePort())]
    const child = runFanfare(['serve'], {
      FANFARE_LOG_FORMAT: 'json',
      FANFARE_PORT: port,
      FANFARE_INTERNAL_PORT: internalPort,
      FANFARE_AUTH_JWKS_URL: issuer.url,
    })
    stops.push(() => child.stop())
    await child.line(/not ready: the keys of tokens cannot be fetched/)
    const ready = await fetch(`http://127.0.0.1:${internalPort}/ready`)
    expect(ready.status).toBe(503)
    expect(await ready.text()).toContain('starting')
    const wsUrl = `ws://127.0.0.1:${port}`
    const refusal = await refusalOf(
      RawClient.connect(`${wsUrl}/ws/room`, { token: key.token({ sub: 'ann' }) }),
    )
    expect(refusal.status).toBe(503)
    expect(Number(refusal.headers['retry-after'])).toBeGreaterThan(0)
    const sdk = new SdkClient(wsUrl, { token: key.token({ sub: 'bob' }) })
    sdk.sdk.connect()
    expect(await sdk.errors.first(1)).toMatchObject([{ code: 100 }])
    issuer.publish(key, nextKey)
    await child.line(/"msg":"ready"/)
    await sdk.connected.first(1)
    sdk.close()
    expect(child.lines.filter((line) => line.includes('not ready'))).toHaveLength(1)
  })
})
