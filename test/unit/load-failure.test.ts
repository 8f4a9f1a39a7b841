import { describe, expect, it } from 'vitest'
import { explainLoadFailure } from '../../src/transport/uws/load-uws.js'

describe('the message when the native library cannot be loaded', () => {
  it('names the Node versions that fit an old system', () => {
    expect(explainLoadFailure('22.11.0', '2.36', 'version GLIBC_2.38 not found')).toBe(
      'uWebSockets.js has no binary that runs with Node 22.11.0 and glibc 2.36; use Node 20 on this system',
    )
  })

  it('names the Node versions that fit a current system', () => {
    expect(explainLoadFailure('26.0.0', '2.41', 'no such file')).toContain(
      '; use Node 20, 22, 24, 25 on this system',
    )
  })

  it('contains the cause when the versions fit', () => {
    expect(explainLoadFailure('20.11.0', '2.36', 'Cannot find module')).toMatch(
      /^uWebSockets\.js cannot be loaded on .*: Cannot find module$/,
    )
  })

  it('compares versions of glibc as numbers', () => {
    expect(explainLoadFailure('24.0.0', '2.9', 'no such file')).toContain('no binary for')
    expect(explainLoadFailure('26.0.0', '2.100', 'x')).toContain('use Node 20, 22, 24, 25')
    expect(explainLoadFailure('26.0.0', '3.0', 'x')).toContain('use Node 20, 22, 24, 25')
  })

  it.each([undefined, '2.17', 'unknown'])(
    'contains the cause on a system that no version fits (glibc %s)',
    (glibc) => {
      expect(explainLoadFailure('20.1.0', glibc, 'invalid ELF header')).toMatch(
        /^uWebSockets\.js has no binary for \w+ \w+ with Node 20\.1\.0: invalid ELF header$/,
      )
    },
  )
})
