import { describe, expect, it } from 'vitest'
import { readArguments } from '../faults/arguments.js'
import { FAULTS } from '../faults/catalogue.js'
import { COLUMNS } from '../faults/report.js'
import { TOPOLOGY_NAMES } from '../faults/topologies.js'
import { codesIn, Page } from '../support/page.js'

const page = new Page('docs/faults.md')

describe('the page about faults', () => {
  it('has commands with arguments that are accepted', () => {
    for (const line of page.code('commands').trim().split('\n')) {
      const [, command, rest = ''] = /^(npm run faults)(?: -- (.*))?$/.exec(line) ?? []
      expect(command, page.where('commands')).toBeDefined()
      expect(() => readArguments(rest.split(' ').filter((one) => one !== '')), line).not.toThrow()
    }
  })

  it('explains every column of a report', () => {
    const explained = page.rows('columns').flatMap(({ cells: [name = ''] }) => name.split(', '))
    const columns = COLUMNS.map(([head]) => head).filter((head) => head !== 'fault' && head !== 'topology')
    expect(explained, page.where('columns')).toEqual(columns)
  })

  it('has a run of faults that there are, in the columns of a report', () => {
    const [head = ''] = page.section('run').split('\n')
    expect(head, page.where('run')).toBe(`| ${COLUMNS.map(([name]) => name).join(' | ')} |`)
    for (const { line, cells } of page.rows('run')) {
      const [name = '', topology = ''] = cells
      expect(
        FAULTS.map((fault) => fault.name),
        page.at(line),
      ).toContain(codesIn(name)[0])
      expect(TOPOLOGY_NAMES, page.at(line)).toContain(topology)
    }
  })
})
