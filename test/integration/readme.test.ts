import { describe, expect, it } from 'vitest'
import { parse as parseYaml } from 'yaml'
import { DEFAULT_NAMESPACE_OPTIONS, Namespaces } from '../../src/channel/namespaces.js'
import { settingsMarkdown } from '../../src/config/describe.js'
import { loadConfig } from '../../src/config/load.js'
import { namespaceOptionName, namespaces } from '../../src/config/namespaces.js'
import { API_SCHEMAS } from '../../src/http/api-schemas.js'
import { CLOSES, DISCONNECTS, UNSUBSCRIBES } from '../../src/protocol/closes.js'
import { ERRORS } from '../../src/protocol/errors.js'
import { API_KEY, callApi } from '../support/api.js'
import { FanfareProcess } from '../support/fanfare-process.js'
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
      FANFARE_API_KEY: API_KEY,
      FANFARE_REDIS_URL: redis.url,
      FANFARE_WORKERS: '2',
    })
    // Some are there from their first event on.
    await callApi(node, 'publish', { channel: 'room', data: 1 })
    const exported = [...(await node.metrics()).matchAll(/^# TYPE fanfare_(\w+) /gm)].map(([, name]) => name)
    const table = readme().split('| metric (`fanfare_…`) | labels |')[1]?.split('\n\n')[0] ?? ''
    const documented = tableRows(table).flatMap(([names = '']) =>
      [...names.matchAll(/`(\w+)`/g)].map(([, name]) => name),
    )
    expect(documented.sort()).toEqual(exported.sort())
    await node.child.stop()
    await redis.remove()
  })

  it('has the unsubscribes that the code has', () => {
    const documented = tableRows(section('unsubscribes')).map(
      ([code, reason, again]) => `${code} ${reason} ${again}`,
    )
    expect(documented).toEqual(
      Object.values(UNSUBSCRIBES).map(
        ({ code, reason }) => `${code} ${reason} ${code < 2500 ? 'no' : 'yes'}`,
      ),
    )
  })

  it('has the options of namespaces that the code has, with their defaults and what is open without any', () => {
    const rows = tableRows(section('namespace-options'))
    expect(rows.map(([option]) => option)).toEqual(
      Object.keys(DEFAULT_NAMESPACE_OPTIONS).map((key) => `\`${namespaceOptionName(key)}\``),
    )
    const columnAsNamespace = (column: 1 | 2) => {
      const written = rows
        .map((row): [string, string] => [row[0]?.replaceAll('`', '') ?? '', row[column] ?? ''])
        .filter(([, value]) => value !== 'none')
      return namespaces.read([{ name: '', ...Object.fromEntries(written) }])?.[0]
    }
    expect(columnAsNamespace(1)).toEqual({ name: '', ...DEFAULT_NAMESPACE_OPTIONS })
    expect(columnAsNamespace(2)).toEqual(new Namespaces(undefined).of('any'))
  })

  it('has namespaces in a file that the configuration takes', () => {
    const file = /```yaml\n([\s\S]*?)```/.exec(readme())?.[1] ?? ''
    const { config, problems } = loadConfig({ options: parseYaml(file) as Record<string, unknown> })
    expect(problems).toEqual([])
    expect(config.namespaces?.map(({ name }) => name)).toEqual(['chat', ''])
  })

  it('has the methods of the server API that the code has, with the fields of their bodies', () => {
    const documented = new Map(
      tableRows(section('api-methods')).map(([method, body]) => [method, body ?? '']),
    )
    expect([...documented.keys()]).toEqual(Object.keys(API_SCHEMAS).map((method) => `\`${method}\``))
    const shared = ['user', 'client', 'session', 'delta']
    for (const [method, schema] of Object.entries(API_SCHEMAS)) {
      if (method === 'broadcast') continue
      for (const field of Object.keys(schema.shape).filter((name) => !shared.includes(name))) {
        expect(documented.get(`\`${method}\``), `${method} takes ${field}`).toContain(`\`${field}\``)
      }
    }
  })

  it('says which claims of tokens count', () => {
    const claims = (table: string) =>
      tableRows(section(table)).flatMap(([names = '']) =>
        [...names.matchAll(/`(\w+)`/g)].map(([, name]) => name),
      )
    const common = ['sub', 'exp', 'nbf', 'iat', 'aud', 'iss', 'info', 'expire_at']
    expect(claims('connection-claims').sort()).toEqual([...common, 'channels', 'subs'].sort())
    expect(claims('subscription-claims').sort()).toEqual([...common, 'channel'].sort())
  })
})
