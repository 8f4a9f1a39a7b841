import { afterEach, describe, expect, it } from 'vitest'
import { runFanfare } from '../../deploy/local/fanfare-process.js'
import { flagName, SETTING_KEYS } from '../../src/config/settings.js'
import { cleanUp } from '../support/clean-ups.js'
import { exampleSettings, runShell, startExampleNode } from '../support/examples.js'
import { codesIn, Page } from '../support/page.js'
import { RawClient } from '../support/raw-client.js'

afterEach(cleanUp)

const page = new Page('docs/command.md')
const OF_EVERY_COMMAND = ['--help', ...SETTING_KEYS.map(flagName)]

async function helpOf(...command: string[]): Promise<readonly string[]> {
  const help = runFanfare([...command, '--help'])
  await help.exited
  return help.lines
}

function firstMatches(lines: readonly string[], pattern: RegExp): readonly string[] {
  return lines.flatMap((line) => pattern.exec(line)?.[1] ?? [])
}

describe('the page about the command', () => {
  it('has all subcommands with their options', async () => {
    const rows = page.rows('commands')
    const commands = rows.map(({ cells: [command = ''] }) => codesIn(command)[0] ?? '')
    const known = firstMatches(await helpOf(), /^ {2}(\w+) (?:\[|<| )/).filter((name) => name !== 'help')
    expect(commands, page.where('commands')).toEqual(known)
    const helps = await Promise.all(commands.map((command) => helpOf(command)))
    for (const [index, { line, cells }] of rows.entries()) {
      const options = firstMatches(helps[index] ?? [], /^ {2}(?:-\w, )?(--[\w-]+)/)
      const own = options.filter((option) => !OF_EVERY_COMMAND.includes(option))
      const documented = codesIn(cells[1] ?? '').filter((code) => code.startsWith('--'))
      expect(documented.toSorted(), page.at(line)).toEqual(own.toSorted())
      expect(options.includes('--raw-timeout'), page.at(line)).toBe(
        cells[1]?.includes('a flag for each') ?? false,
      )
    }
  })

  it('has example lines that work', async () => {
    const node = await startExampleNode()
    const settings = { ...exampleSettings(), FANFARE_PORT: String(node.port) }
    const subscriber = await RawClient.connect(`${node.wsUrl}/ws/room`, { token: 'change-me' })
    const tried = runShell(page.code('try'), settings)
    expect(await tried.exited).toMatchObject({ code: 0 })
    expect(await subscriber.nextText()).toBe('{"text":"hello"}')
    const token = tried.lines[0] ?? ''
    const bob = await RawClient.connect(`${node.wsUrl}/ws/room?events=join`, { token })
    expect(JSON.parse(await bob.nextText())).toMatchObject({ user: 'bob' })
    expect(tried.output).toMatch(/FANFARE_RAW_TIMEOUT +40s +flag/)
  })

  it('has the exit codes of the command', async () => {
    const exitCode = async (args: readonly string[], settings = {}) => {
      const { code } = await runFanfare(args, settings).exited
      return String(code)
    }
    const unreachable = ['publish', 'room', '1', '--url', 'http://127.0.0.1:9']
    const codes = await Promise.all([
      exitCode(['--version']),
      exitCode(unreachable, { FANFARE_API_KEY: 'key' }),
      exitCode(['nonsense']),
    ])
    expect(
      page.rows('exit-codes').map(({ cells }) => cells[0]),
      page.where('exit-codes'),
    ).toEqual(codes)
  })
})
