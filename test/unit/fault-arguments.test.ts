import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { ArgumentsEnd, readArguments } from '../faults/arguments.js'
import { FAULTS } from '../faults/catalogue.js'
import { SABOTAGE_NAMES } from '../faults/ledger/sabotage.js'

describe('the arguments of npm run faults', () => {
  let printed = ''
  beforeEach(() => {
    printed = ''
    for (const stream of [process.stdout, process.stderr]) {
      vi.spyOn(stream, 'write').mockImplementation((text) => {
        printed += String(text)
        return true
      })
    }
  })
  afterEach(() => vi.restoreAllMocks())

  it('are all faults, on all topologies, with the seed 1 unless they say otherwise', () => {
    expect(readArguments([])).toEqual({
      names: [],
      isList: false,
      topologies: [],
      seed: 1,
      seeds: 1,
      minutes: undefined,
      report: undefined,
      sabotages: [],
    })
  })

  it('choose faults, topologies, seeds and a report', () => {
    const argv = ['node-crash', 'redis-freeze', '--topology', 'one', '--topology', 'sentinel', '--seed', '7']
    expect(readArguments([...argv, '--seeds', '3', '--minutes', '90', '--report', 'out.md'])).toMatchObject({
      names: ['node-crash', 'redis-freeze'],
      topologies: ['one', 'sentinel'],
      seed: 7,
      seeds: 3,
      minutes: 90,
      report: 'out.md',
    })
  })

  it('choose one sabotage, or all', () => {
    expect(readArguments(['--sabotage', 'swap']).sabotages).toEqual(['swap'])
    expect(readArguments(['--sabotage', 'all']).sabotages).toEqual(SABOTAGE_NAMES)
  })

  it.each([
    [['node-crush'], 'there is no fault "node-crush"; there are calm, node-crash'],
    [['--topology', 'mars'], 'Allowed choices are one, replica, sentinel, cluster, several'],
    [['--seed', '0'], 'whole number from 1 to'],
    [['--seeds', '1.5'], 'whole number from 1 to'],
    [['--minutes', 'ten'], 'whole number from 1 to'],
    [['--report', 'out.txt'], 'has to end with .md'],
    [['--sabotage', 'all', '--minutes', '5'], 'cannot be used with'],
    [['--fast'], "unknown option '--fast'"],
  ])('refuse %j, and say what would be right', (argv, message) => {
    expect(() => readArguments(argv)).toThrow(new ArgumentsEnd(2))
    expect(printed).toContain(message)
  })

  it('answer --help without an error', () => {
    expect(() => readArguments(['--help'])).toThrow(new ArgumentsEnd(0))
    expect(printed).toContain('--sabotage <kind>')
  })
})

describe('the faults', () => {
  it('have names and summaries of their own, one sentence each', () => {
    expect(new Set(FAULTS.map(({ name }) => name)).size).toBe(FAULTS.length)
    for (const { name, summary } of FAULTS) {
      expect(name).toMatch(/^[a-z]+(-[a-z]+)*$/)
      expect(summary, name).toMatch(/^[A-Z][^\n]*\.$/)
    }
  })
})
