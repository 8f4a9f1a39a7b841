import { describe, expect, it } from 'vitest'
import { ConnectionSlots } from '../../src/connection/connection-slots.js'

describe('connection slots', () => {
  it('are reserved up to the limit, and again after each release', () => {
    const slots = new ConnectionSlots(2)
    expect([slots.reserve(), slots.reserve(), slots.reserve()]).toEqual([
      undefined,
      undefined,
      'connection_limit',
    ])
    slots.release()
    expect([slots.reserve(), slots.reserve()]).toEqual([undefined, 'connection_limit'])
  })

  it('are not used up by refused reservations', () => {
    const slots = new ConnectionSlots(1)
    slots.reserve()
    for (let attempt = 0; attempt < 10; attempt++) expect(slots.reserve()).toBe('connection_limit')
    slots.release()
    expect(slots.reserve()).toBeUndefined()
  })

  it('are refused once closed, with draining as the reason even at the limit', () => {
    const slots = new ConnectionSlots(1)
    slots.reserve()
    slots.close()
    expect(slots.reserve()).toBe('draining')
    slots.release()
    expect(slots.reserve()).toBe('draining')
  })
})
