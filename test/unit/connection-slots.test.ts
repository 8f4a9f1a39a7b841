import { describe, expect, it } from 'vitest'
import { ConnectionSlots } from '../../src/connection/connection-slots.js'

describe('admission', () => {
  it('lets in as many as there are places, and one more for each that leaves', () => {
    const admission = new ConnectionSlots(2)
    expect([admission.reserve(), admission.reserve(), admission.reserve()]).toEqual([
      undefined,
      undefined,
      'connection_limit',
    ])
    admission.release()
    expect([admission.reserve(), admission.reserve()]).toEqual([undefined, 'connection_limit'])
  })

  it('takes no place for who is refused', () => {
    const admission = new ConnectionSlots(1)
    admission.reserve()
    for (let refused = 0; refused < 10; refused++) expect(admission.reserve()).toBe('connection_limit')
    admission.release()
    expect(admission.reserve()).toBeUndefined()
  })

  it('lets nobody in once it is closed, and says so rather than that it is full', () => {
    const admission = new ConnectionSlots(1)
    admission.reserve()
    admission.close()
    expect(admission.reserve()).toBe('draining')
    admission.release()
    expect(admission.reserve()).toBe('draining')
  })
})
