import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { explainLoadFailure } from '../../src/transport/uws/load-uws.js'
import { Page, TOP } from '../support/page.js'

const page = new Page('docs/installation.md')

interface Manifest {
  readonly dependencies: Readonly<Record<string, string>>
  readonly engines: { readonly node: string }
}

describe('the page about installation', () => {
  it('tells which Node fits which glibc as the node does', () => {
    const rows = page
      .rows('builds')
      .map(({ line, cells: [node = '', glibc = ''] }) => ({ line, node, glibc }))
    for (const { line, glibc } of rows) {
      const fitting = rows.filter((row) => Number(row.glibc) <= Number(glibc)).map(({ node }) => node)
      const explained = explainLoadFailure('19.0.0', glibc, 'no such file')
      expect(explained, page.at(line)).toContain(`; use Node ${fitting.join(', ')} on this system`)
    }
  })

  it('names the package of uWebSockets.js and the least Node that package.json has', () => {
    const manifest = JSON.parse(readFileSync(`${TOP}package.json`, 'utf8')) as Manifest
    const aliased = manifest.dependencies['uWebSockets.js']?.replace(/^npm:/, '')
    expect(page.text, page.path).toContain(`\`${aliased}\``)
    const least = manifest.engines.node.replace('>=', '')
    for (const path of [page.path, 'README.md']) {
      expect(new Page(path).text, path).toContain(`with Node ${least} or newer`)
    }
  })
})
