import { describe, expect, it } from 'vitest'
import { Admission } from '../../src/hub/admission.js'

describe('admission', () => {
  it('lets in as many as there are places, and one more for each that leaves', () => {
    const admission = new Admission(2)
    expect([admission.enter(), admission.enter(), admission.enter()]).toEqual([
      undefined,
      undefined,
      'connection_limit',
    ])
    admission.leave()
    expect([admission.enter(), admission.enter()]).toEqual([undefined, 'connection_limit'])
  })

  it('takes no place for who is refused', () => {
    const admission = new Admission(1)
    admission.enter()
    for (let refused = 0; refused < 10; refused++) expect(admission.enter()).toBe('connection_limit')
    admission.leave()
    expect(admission.enter()).toBeUndefined()
  })

  it('lets nobody in once it is closed, and says so rather than that it is full', () => {
    const admission = new Admission(1)
    admission.enter()
    admission.close()
    expect(admission.enter()).toBe('draining')
    admission.leave()
    expect(admission.enter()).toBe('draining')
  })
})
