import { describe, expect, it } from 'vitest'
import { settingsMarkdown } from '../../src/config/describe.js'
import { CLOSES, DISCONNECTS } from '../../src/protocol/closes.js'
import { ERRORS } from '../../src/protocol/errors.js'
import { Child } from '../support/child-process.js'
import { FanfareProcess } from '../support/fanfare-process.js'
import { RawClient } from '../support/raw-client.js'
import { readme, section, tableRows } from '../support/readme.js'
import { RedisServer } from '../support/redis-server.js'

describe('the README', () => {
  it('has the table of settings that the code has (npm run readme writes it)', () => {
    expect(section('settings').trim()).toBe(settingsMarkdown())
  })

  it('has the close codes that the code has', () => {
    const documented = tableRows(section('closes')).map(([code, reason]) => `${code} ${reason}`)
    expect(documented.sort()).toEqual(
      Object.values(CLOSES)
        .map(({ code, reason }) => `${code} ${reason}`)
        .sort(),
    )
  })

  it('has the disconnects that the code has', () => {
    const documented = tableRows(section('disconnects')).map(
      ([code, reason, back]) => `${code} ${reason} ${back}`,
    )
    expect(documented).toEqual(
      Object.values(DISCONNECTS).map(
        ({ code, reason, reconnect }) => `${code} ${reason} ${reconnect ? 'yes' : 'no'}`,
      ),
    )
  })

  it('has the error codes that the code has', () => {
    const documented = tableRows(section('errors')).map(([code]) => Number(code))
    expect(documented).toEqual(Object.values(ERRORS).map(({ code }) => code))
  })

  it('names every metric that a node exports, and no other', async () => {
    const redis = await RedisServer.start()
    // The supervisor of workers has all that a node has, and its own.
    const node = await FanfareProcess.start({
      FANFARE_AUTH_TOKENS: 'secret',
      FANFARE_REDIS_URL: redis.url,
      FANFARE_WORKERS: '2',
    })
    const exported = [...(await node.metrics()).matchAll(/^# TYPE fanfare_(\w+) /gm)].map(([, name]) => name)
    const table = readme().split('| metric (`fanfare_…`) | labels |')[1]?.split('\n\n')[0] ?? ''
    const documented = tableRows(table).flatMap(([names = '']) =>
      [...names.matchAll(/`(\w+)`/g)].map(([, name]) => name),
    )
    expect(documented.sort()).toEqual(exported.sort())
    await node.child.stop()
    await redis.remove()
  })

  it('has a client in JavaScript that works', async () => {
    const node = await FanfareProcess.start({ FANFARE_AUTH_TOKENS: 'change-me' })
    const witness = await RawClient.connect(`${node.wsUrl}/ws/room`, { token: 'change-me' })
    const script = /```js\n([\s\S]*?)```/.exec(readme())?.[1] ?? ''
    const client = new Child(process.execPath, ['--input-type=module', '-e', script], {
      env: { ...process.env, URL: node.wsUrl },
    })
    expect(await witness.nextText()).toBe('{"text":"hello from JavaScript"}')
    witness.send('hello back')
    await client.line(/hello back/)
    await node.child.stop()
    await client.line(/1001 Going away/)
    await client.stop()
  })
})
