import { existsSync, mkdirSync, rmSync, statSync } from 'node:fs'
import { afterAll, describe, expect, it } from 'vitest'
import { freePort } from '../../deploy/local/free-port.js'
import { SourceTree } from '../support/source-tree.js'

const UP_TO_DATE = { code: 0, output: '' }

describe('npm start in a fresh clone, installed without scripts', () => {
  const tree = new SourceTree()
  afterAll(() => tree.dispose())

  const start = async () => {
    const [port, internalPort] = [await freePort(), await freePort()]
    return tree.run('npm', 'start', '--', '--port', `${port}`, '--internal-port', `${internalPort}`)
  }

  it('starts three nodes at once, after one build that one of them announces', async () => {
    const nodes = [await start(), await start(), await start()]
    await Promise.all(nodes.map((node) => node.line(/"msg":"ready"/)))
    const announcements = nodes.flatMap(({ lines }) => lines.filter((line) => line.startsWith('Building')))
    expect(announcements).toEqual(['Building Fanfare (there is no whole build yet) …'])
    expect(tree.compilerRuns).toBe(1)
    expect(tree.leftovers()).toEqual([])
    for (const node of nodes) expect(await node.stop(), node.output).toEqual({ code: 0, signal: null })
  }, 60_000)

  it('starts no compiler when nothing has changed', async () => {
    const runs = tree.compilerRuns
    const node = await start()
    await node.line(/"msg":"ready"/)
    expect(node.output).not.toContain('Building')
    expect(tree.compilerRuns).toBe(runs)
    await node.stop()
  })

  it('ends with the compiler errors of the sources, and keeps the last build', async () => {
    const before = tree.dist()
    tree.write('src/broken.ts', `export const port: number = 'eight'\n`)
    const node = await start()
    expect((await node.exited).code).toBe(1)
    expect(node.output).toContain('Building Fanfare (src/broken.ts changed) …')
    expect(node.output).toMatch(/src\/broken\.ts.*TS2322/)
    expect(tree.dist()).toEqual(before)
    expect(tree.leftovers()).toEqual([])
    tree.remove('src/broken.ts')
    expect(await tree.build()).toEqual(UP_TO_DATE)
  }, 40_000)
})

describe('the build', () => {
  const tree = new SourceTree()
  afterAll(() => tree.dispose())

  it('waits for a running build, and replaces one that was killed', async () => {
    mkdirSync(tree.path('dist.lock'))
    tree.write('dist.next-1/src/half.js', '')
    const child = tree.run('npm', 'run', 'build')
    await child.line(/^Waiting for another build/)
    expect((await child.exited).code).toBe(0)
    expect(existsSync(tree.path('dist/src/half.js'))).toBe(false)
    expect(tree.leftovers()).toEqual([])
  }, 60_000)

  it('makes an executable command', () => {
    expect(statSync(tree.path('dist/src/main.js')).mode & 0o111).toBe(0o111)
  })

  it('does nothing for a file that was only touched', async () => {
    tree.write('src/log.ts', tree.read('src/log.ts'))
    expect(await tree.build()).toEqual(UP_TO_DATE)
  })

  it('includes changed and added files, and drops deleted ones, of Lua and TypeScript', async () => {
    tree.write('src/log.ts', `${tree.read('src/log.ts')}\nexport const CHANGED = 1\n`)
    tree.write('src/redis/lua/added.lua', 'return 1\n')
    tree.write('src/added.ts', 'export const ADDED = 1\n')
    expect(await tree.build()).toEqual({
      code: 0,
      output: 'Building Fanfare (src/log.ts and 2 more changed) …',
    })
    expect(tree.read('dist/src/log.js')).toContain('CHANGED')
    expect(tree.read('dist/src/redis/lua/added.lua')).toBe('return 1\n')
    expect(tree.read('dist/src/added.js')).toContain('ADDED')

    tree.remove('src/added.ts')
    expect((await tree.build()).output).toBe('Building Fanfare (src/added.ts changed) …')
    expect(Object.keys(tree.dist()).filter((name) => /added\.(js|d\.ts)$/.test(name))).toEqual([])
    expect(tree.read('dist/src/log.js')).toContain('CHANGED')
  }, 40_000)

  it('puts Lua into the package', async () => {
    const pack = tree.run('npm', 'pack', '--json', '--dry-run', '--ignore-scripts')
    expect((await pack.exited).code, pack.output).toBe(0)
    const [packed] = JSON.parse(pack.output) as { files: { path: string }[] }[]
    expect(packed?.files.map(({ path }) => path)).toContain('dist/src/redis/lua/added.lua')
  })

  it.each([
    ['tsconfig.json', 'tsconfig.json'],
    ['the installed packages', 'node_modules/.package-lock.json'],
  ])(
    'runs again after a change of %s',
    async (name, path) => {
      tree.write(path, `${tree.read(path)}\n`)
      expect(await tree.build()).toEqual({ code: 0, output: `Building Fanfare (${name} changed) …` })
      expect(await tree.build()).toEqual(UP_TO_DATE)
    },
    40_000,
  )

  it('is complete again when a file of the last build is missing', async () => {
    tree.remove('dist/src/log.js')
    expect((await tree.build()).code).toBe(0)
    expect(tree.read('dist/src/log.js')).toContain('CHANGED')
  }, 40_000)

  it('keeps the last build when it is interrupted', async () => {
    const before = tree.dist()
    tree.write('src/log.ts', `${tree.read('src/log.ts')}\nexport const LATER = 1\n`)
    const child = tree.run('node', 'deploy/build.mjs')
    await child.line(/^Building/)
    child.kill('SIGINT')
    expect((await child.exited).code).toBe(1)
    expect(tree.dist()).toEqual(before)
    expect(tree.leftovers()).toEqual([])
    expect((await tree.build()).code).toBe(0)
    expect(tree.read('dist/src/log.js')).toContain('LATER')
  }, 40_000)

  it('needs no development dependencies unless a file has changed that npm start needs', async () => {
    tree.remove('node_modules/typescript')
    expect(await tree.build()).toEqual(UP_TO_DATE)
    tree.write('src/log.ts', `${tree.read('src/log.ts')}\nexport const LAST = 1\n`)
    const message =
      'Not building Fanfare (src/log.ts changed): npm ci without --omit=dev installs the compiler.'
    expect(await tree.build()).toEqual({ code: 1, output: message })
    expect(await tree.build('--if-possible')).toEqual({ code: 0, output: message })
  })
})

describe('the script after npm ci', () => {
  const tree = new SourceTree()
  afterAll(() => tree.dispose())

  it('does nothing when only package.json and the lock file were copied', async () => {
    rmSync(tree.path('deploy'), { recursive: true })
    const prepare = tree.run('npm', 'run', '--silent', 'postprepare')
    expect(await prepare.exited).toEqual({ code: 0, signal: null })
    expect(prepare.output).toBe('')
    expect(existsSync(tree.path('dist'))).toBe(false)
  })
})
