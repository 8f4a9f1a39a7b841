import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { explainLoadFailure } from '../../src/transport/uws/load-uws.js'
import { Page } from '../support/page.js'
import { ROOT } from '../support/repository.js'

const page = new Page('docs/installation.md')

interface Manifest {
  readonly dependencies: Readonly<Record<string, string>>
  readonly engines: { readonly node: string }
}

describe('the page about installation', () => {
  it('has the same versions of Node for each glibc as the error of the node', () => {
    const rows = page
      .rows('builds')
      .map(({ line, cells: [node = '', glibc = ''] }) => ({ line, node, glibc }))
    for (const { line, glibc } of rows) {
      const supported = rows.filter((row) => Number(row.glibc) <= Number(glibc)).map(({ node }) => node)
      const explained = explainLoadFailure('19.0.0', glibc, 'no such file')
      expect(explained, page.at(line)).toContain(`; use Node ${supported.join(', ')} on this system`)
    }
  })

  it('names the package of uWebSockets.js and the minimum version of Node of package.json', () => {
    const manifest = JSON.parse(readFileSync(`${ROOT}package.json`, 'utf8')) as Manifest
    const aliased = manifest.dependencies['uWebSockets.js']?.replace(/^npm:/, '')
    expect(page.text, page.path).toContain(`\`${aliased}\``)
    const minimum = manifest.engines.node.replace('>=', '')
    for (const path of [page.path, 'README.md']) {
      expect(new Page(path).text, path).toContain(`with Node ${minimum} or newer`)
    }
  })
})
