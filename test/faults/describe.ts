import { FAULTS } from './catalogue.js'
import { PROPERTIES } from './ledger/events.js'
import { SABOTAGES } from './ledger/sabotage.js'
import { TOPOLOGIES } from './topologies.js'

/** The tables of the page about faults that come from the code, in Markdown. */
export const TABLES = {
  properties: () =>
    table(
      ['', 'what holds in every run'],
      Object.entries(PROPERTIES).map(([property, text]) => [property, text]),
    ),
  topologies: () =>
    table(
      ['topology', 'what it is'],
      Object.entries(TOPOLOGIES).map(([name, { summary }]) => [`\`${name}\``, summary]),
    ),
  faults: () =>
    table(
      ['fault', 'what happens', 'on', 'epochs', 'acknowledged history'],
      FAULTS.map(({ name, summary, topologies, epochs, history }) => [
        `\`${name}\``,
        summary,
        topologies.join(', '),
        EPOCHS[epochs],
        HISTORY[history],
      ]),
    ),
  sabotages: () =>
    table(
      ['sabotage', 'what the checker is told', 'property'],
      Object.entries(SABOTAGES).map(([name, { summary, property }]) => [`\`${name}\``, summary, property]),
    ),
} as const

const EPOCHS = {
  kept: 'go on: everybody recovers',
  ended: 'end: nobody recovers across',
  either: 'may end',
} as const

const HISTORY = {
  kept: 'all is kept',
  lost: 'that of ended epochs may be lost',
  evicted: 'any may be gone',
} as const

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => '---'), ...rows]
    .map((cells) => `|${cells.map((cell) => (cell === '---' ? '---|' : ` ${cell} |`)).join('')}\n`)
    .join('')
}
