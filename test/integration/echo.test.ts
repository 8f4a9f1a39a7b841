import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FanfareProcess } from '../../deploy/local/fanfare-process.js'
import { RawClient, refusalOf } from '../support/raw-client.js'

describe('/echo', () => {
  let node: FanfareProcess

  beforeAll(async () => {
    node = await FanfareProcess.start({ FANFARE_AUTH_TOKENS: 'secret-a' })
  })
  afterAll(() => node.child.stop())

  it('answers every frame with itself, the text ping included', async () => {
    const client = await RawClient.connect(`${node.wsUrl}/echo`, { token: 'secret-a' })
    for (const text of ['ping', '', 'grüße\n']) {
      client.send(text)
      expect(await client.nextText()).toBe(text)
    }
    const bytes = Buffer.alloc(1024 * 1024, 0xfe)
    client.send(bytes)
    const frame = await client.next()
    expect(frame.isBinary).toBe(true)
    expect(frame.data.equals(bytes)).toBe(true)
  })

  it('requires a token like any channel', async () => {
    expect((await refusalOf(RawClient.connect(`${node.wsUrl}/echo`))).status).toBe(401)
  })
})
