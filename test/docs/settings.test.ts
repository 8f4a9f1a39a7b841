import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { type ConfigInputs, loadConfig } from '../../src/config/load.js'
import { flagName, SETTING_KEYS } from '../../src/config/settings.js'
import { codesIn, Page } from '../support/page.js'

const page = new Page('docs/settings.md')

/** The settings without their default, with their values. */
function given(inputs: ConfigInputs): readonly unknown[] {
  const { config, sources, problems } = loadConfig(inputs)
  expect(problems).toEqual([])
  return SETTING_KEYS.filter((key) => sources[key] !== 'default').map((key) => [key, config[key]])
}

it('the page about settings has their spellings as flags, variables and entries of the file', () => {
  const directory = mkdtempSync(join(tmpdir(), 'fanfare-settings-'))
  try {
    for (const { line, cells } of page.rows('spellings')) {
      const [flag = '', variable = '', entry = ''] = cells.map((cell) => codesIn(cell)[0])
      const [name = '', value] = flag.split(' ')
      const key = SETTING_KEYS.find((one) => flagName(one) === name)
      const [environment = '', text] = variable.split('=')
      const file = join(directory, 'fanfare.yaml')
      writeFileSync(file, entry)
      const byFlag = given({ flags: { [String(key)]: value } })
      expect(byFlag, page.at(line)).toHaveLength(1)
      expect(given({ environment: { [environment]: text } }), page.at(line)).toEqual(byFlag)
      expect(given({ file }), page.at(line)).toEqual(byFlag)
    }
  } finally {
    rmSync(directory, { recursive: true })
  }
})
