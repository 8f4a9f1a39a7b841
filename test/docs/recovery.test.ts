import { afterEach, describe, expect, it } from 'vitest'
import { namespaces } from '../../src/config/namespaces.js'
import { cleanUp } from '../support/clean-ups.js'
import { at, exported, runJavaScript, runShell, startExampleNode } from '../support/examples.js'
import { codesIn, Page } from '../support/page.js'
import { shownDefault } from '../support/shown.js'

afterEach(cleanUp)

const page = new Page('docs/recovery.md')

describe('the page about recovery', () => {
  it('names existing settings and options, with the defaults of settings', () => {
    for (const { line, cells } of page.rows('not-recovered')) {
      const [reason = '', setting = ''] = cells
      const [name] = codesIn(setting)
      if (name === undefined) continue
      if (name.startsWith('FANFARE_')) expect(reason, page.at(line)).toContain(shownDefault(name))
      else {
        const written = {
          name: '',
          history_size: 1,
          history_ttl: '1s',
          [name]: name === 'history_size' ? 1 : '1s',
        }
        expect(namespaces.read([written]), page.at(line)).toBeDefined()
      }
    }
  })

  it('has a client that recovers publications after a reconnect', async () => {
    const node = await startExampleNode(exported(page.code('node')))
    const client = runJavaScript(node, page.code('client'))
    await client.line(/^subscribed { wasRecovering: false, recovered: false }$/)
    const [disconnect = '', publish = ''] = at(node, page.code('calls')).trim().split('\n')
    expect(await runShell(disconnect).line(/result/)).toContain('"num_clients":1')
    await runShell(publish).line(/result/)
    await client.line(/^subscribed { wasRecovering: true, recovered: true }$/)
    await client.line(/^1 while you were away$/)
    expect(client.lines.filter((line) => line.includes('while you were away'))).toHaveLength(1)
  })
})
