import { describe, expect, it } from 'vitest'
import { parse as parseYaml } from 'yaml'
import { DEFAULT_NAMESPACE_OPTIONS, Namespaces } from '../../src/channel/namespaces.js'
import { subscribeRule } from '../../src/channel/permissions.js'
import { loadConfig } from '../../src/config/load.js'
import { namespaceOptionName, namespaces } from '../../src/config/namespaces.js'
import { codesIn, Page } from '../support/page.js'

const page = new Page('docs/channels.md')

describe('the page about channels', () => {
  it('has the options of namespaces of the code, with their defaults and their values without namespaces', () => {
    const rows = page.rows('namespace-options').map(({ cells }) => cells)
    expect(
      rows.map(([option]) => option),
      page.where('namespace-options'),
    ).toEqual(Object.keys(DEFAULT_NAMESPACE_OPTIONS).map((key) => `\`${namespaceOptionName(key)}\``))
    const columnAsNamespace = (column: 1 | 2) => {
      const written = rows
        .map((row): [string, string] => [codesIn(row[0] ?? '')[0] ?? '', row[column] ?? ''])
        .filter(([, value]) => value !== 'none')
      return namespaces.read([{ name: '', ...Object.fromEntries(written) }])?.[0]
    }
    expect(columnAsNamespace(1), page.where('namespace-options')).toEqual({
      name: '',
      ...DEFAULT_NAMESPACE_OPTIONS,
    })
    expect(columnAsNamespace(2), page.where('namespace-options')).toEqual(new Namespaces(undefined).of('any'))
  })

  it('has namespaces in a file that the configuration accepts', () => {
    const options = parseYaml(page.code('namespaces-file')) as Record<string, unknown>
    const { config, problems } = loadConfig({ options })
    expect(problems, page.where('namespaces-file')).toEqual([])
    expect(config.namespaces?.map(({ name }) => name)).toEqual(['chat', ''])
  })

  it('has the right namespace and the right subscribers for each example of a name', () => {
    const options = { ...DEFAULT_NAMESPACE_OPTIONS, allowSubscribeForClient: true }
    const limited = { ...options, allowUserLimitedChannels: true }
    const meanings: Record<string, (channel: string) => boolean> = {
      'whom the namespace allows': (channel) =>
        subscribeRule({ name: '', ...options }, channel, '1') === 'allowed' &&
        subscribeRule({ name: '', ...DEFAULT_NAMESPACE_OPTIONS }, channel, '1') === 'token',
      nobody: (channel) => subscribeRule({ name: '', ...limited }, channel, '17') === 'token',
      'the users 17 and 42, if the namespace has `allow_user_limited_channels`': (channel) =>
        subscribeRule({ name: '', ...limited }, channel, '17') === 'allowed' &&
        subscribeRule({ name: '', ...limited }, channel, '42') === 'allowed' &&
        subscribeRule({ name: '', ...limited }, channel, '1') === 'denied' &&
        subscribeRule({ name: '', ...options }, channel, '17') === 'token',
    }
    const configured = new Namespaces([
      { name: '', ...options },
      { name: 'chat', ...options },
    ])
    for (const { line, cells } of page.rows('names')) {
      const [channel = ''] = codesIn(cells[0] ?? '')
      const [namespace = ''] = codesIn(cells[1] ?? '')
      expect(configured.of(channel)?.name, page.at(line)).toBe(namespace.replaceAll('"', ''))
      expect(meanings[cells[2] ?? '']?.(channel), page.at(line)).toBe(true)
    }
  })
})
