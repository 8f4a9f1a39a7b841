import { expect, it } from 'vitest'
import { Page } from '../support/page.js'
import { shown, shownDefault } from '../support/shown.js'
import { constantOf } from '../support/source-constants.js'

const page = new Page('docs/delivery.md')

it('the page about delivery has the numbers of the code', () => {
  const fanOut = (name: string) => constantOf('src/hub/fan-out.ts', name)
  const load = (name: string) => constantOf('src/hub/event-loop-load.ts', name)
  expect(
    page.rows('busy').map(({ cells: [, value] }) => value),
    page.where('busy'),
  ).toEqual([
    shownDefault('FANFARE_BUSY_DELIVERY_DELAY'),
    shown.count(fanOut('MAX_DELAYED')),
    shown.bytes(fanOut('MAX_DELAYED_LENGTH')),
    `${load('BUSY_UTILIZATION') * 100} %`,
    shown.milliseconds(load('SAMPLE_MS')),
    shown.milliseconds(load('BUSY_MS')),
  ])
})
