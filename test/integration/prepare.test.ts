import { existsSync, readdirSync } from 'node:fs'
import { afterEach, describe, expect, it } from 'vitest'
import { afterThisTest, cleanUp } from '../support/clean-ups.js'
import { shipped } from '../support/deployment.js'
import { SourceTree } from '../support/source-tree.js'

const PLATFORM = `uws_${process.platform}_${process.arch}`
const OTHER_PLATFORMS = ['uws_win32_x64_115.node', 'uws_linux_armv6_115.node']
const [OWN, NEWER, REFUSED] = [process.versions.modules, '999', '108'].map((abi) => `${PLATFORM}_${abi}.node`)

afterEach(cleanUp)

/** A tree with only the files that Dockerfiles copy before they install, and with empty binaries. */
function installed(): SourceTree {
  const tree = new SourceTree()
  afterThisTest(() => tree.dispose())
  for (const name of ['src', 'deploy', 'tsconfig.json', 'node_modules/uWebSockets.js']) tree.remove(name)
  for (const name of [...OTHER_PLATFORMS, OWN, NEWER, REFUSED, 'uws.js']) {
    tree.write(`node_modules/uWebSockets.js/${name}`, '')
  }
  return tree
}

function withScript(name: string): SourceTree {
  const tree = installed()
  tree.copy(`deploy/${name}`)
  return tree
}

const left = (tree: SourceTree) => readdirSync(tree.path('node_modules/uWebSockets.js')).sort()

describe('the script after npm ci', () => {
  it('does nothing in a tree of a Dockerfile before its sources are copied', async () => {
    const tree = installed()
    const prepare = tree.run('npm', 'run', '--silent', 'postprepare')
    expect(await prepare.exited).toEqual({ code: 0, signal: null })
    expect(prepare.output).toBe('')
    expect(existsSync(tree.path('dist'))).toBe(false)
  })

  it('is not a script that npm runs, or warns of, where the package is installed', () => {
    const { scripts } = JSON.parse(shipped('package.json')) as { scripts: Record<string, string> }
    expect(Object.keys(scripts)).not.toEqual(
      expect.arrayContaining([expect.stringMatching(/^(preinstall|install|postinstall|prepare)$/)]),
    )
  })

  it('removes the binaries of other platforms and of unsupported versions of Node, and prints it', async () => {
    const tree = withScript('prune-binaries.mjs')
    const prune = async () => {
      const child = tree.run('node', 'deploy/prune-binaries.mjs')
      expect(await child.exited).toEqual({ code: 0, signal: null })
      return child.output
    }
    expect(await prune()).toMatch(/^Removed 3 binaries of uWebSockets\.js/)
    expect(left(tree)).toEqual([OWN, NEWER, 'uws.js'].sort())
    expect(await prune()).toBe('')
  })
})
