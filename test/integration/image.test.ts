import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { Child } from '../../deploy/local/child-process.js'
import { freePort } from '../../deploy/local/free-port.js'
import { dockerfileInstruction, shipped } from '../support/deployment.js'
import { ROOT } from '../support/repository.js'

const OWN_BINARY = `uws_${process.platform}_${process.arch}_${process.versions.modules}.node`
const OTHER_BINARIES = [
  'uws_win32_x64_137.node',
  'uws_linux_arm_115.node',
  `uws_${process.platform}_${process.arch}_1.node`,
]
const UWS = join('node_modules', 'uWebSockets.js')

/** Parses the exec form of an instruction, a program and its arguments. */
function execForm(value: string): string[] {
  return z.array(z.string()).parse(JSON.parse(value.slice(value.indexOf('['))))
}

/** Copies what `npm ci --omit=dev` would install from the node_modules of this clone, and the other files of the image. */
function copyFiles(directory: string): void {
  const entry = z.object({ dev: z.boolean().optional(), optional: z.boolean().optional() })
  const lock = z.object({ packages: z.record(z.string(), entry) })
  const { packages } = lock.parse(JSON.parse(shipped('package-lock.json')))
  for (const [path, { dev, optional }] of Object.entries(packages)) {
    if (path === '' || dev === true || path === 'node_modules/uWebSockets.js') continue
    // It is for another platform, for example.
    if (optional === true && !existsSync(join(ROOT, path))) continue
    cpSync(join(ROOT, path), join(directory, path), { recursive: true })
  }
  mkdirSync(join(directory, UWS), { recursive: true })
  for (const name of readdirSync(join(ROOT, UWS))) {
    const [from, to] = [join(ROOT, UWS, name), join(directory, UWS, name)]
    if (!name.endsWith('.node')) cpSync(from, to, { recursive: true })
  }
  cpSync(join(ROOT, UWS, OWN_BINARY), join(directory, UWS, OWN_BINARY))
  // Empty files, since the other binaries are large and may not be installed.
  for (const name of OTHER_BINARIES) writeFileSync(join(directory, UWS, name), '')
  mkdirSync(join(directory, 'dist'))
  cpSync(join(ROOT, 'dist', 'src'), join(directory, 'dist', 'src'), { recursive: true })
  cpSync(join(ROOT, 'package.json'), join(directory, 'package.json'))
  copyPruningScript(directory)
}

function copyPruningScript(directory: string): void {
  const path = join('deploy', 'prune-binaries.mjs')
  cpSync(join(ROOT, path), join(directory, path))
}

describe('the image, with its files and commands outside Docker', () => {
  const directory = mkdtempSync(join(tmpdir(), 'fanfare-image-'))
  const children: Child[] = []

  function run([command = '', ...args]: string[], env: Record<string, string> = {}): Child {
    // An image has only its own settings, and finds node by the PATH.
    const child = new Child(command, args, {
      cwd: directory,
      env: { PATH: `${dirname(process.execPath)}:${process.env['PATH']}`, NODE_ENV: 'production', ...env },
    })
    children.push(child)
    return child
  }

  beforeAll(() => copyFiles(directory))

  afterAll(async () => {
    await Promise.all(children.map((child) => child.stop('SIGKILL')))
    rmSync(directory, { recursive: true, force: true })
  })

  it('keeps the one uWebSockets.js binary that this platform loads', async () => {
    const before = readdirSync(join(directory, UWS)).filter((name) => name.endsWith('.node'))
    expect(before).toHaveLength(1 + OTHER_BINARIES.length)
    const cleanup = run(['sh', '-c', dockerfileInstruction('RUN', /prune-binaries/)])
    expect(await cleanup.exited, cleanup.output).toEqual({ code: 0, signal: null })
    expect(readdirSync(join(directory, UWS)).filter((name) => name.endsWith('.node'))).toEqual([OWN_BINARY])
  })

  it('fails to build without a binary for its platform', async () => {
    const elsewhere = join(directory, 'elsewhere')
    mkdirSync(join(elsewhere, UWS), { recursive: true })
    for (const name of ['uws.js', 'package.json']) {
      cpSync(join(directory, UWS, name), join(elsewhere, UWS, name))
    }
    writeFileSync(join(elsewhere, UWS, 'uws_linux_none_1.node'), '')
    copyPruningScript(elsewhere)
    const cleanup = run(['sh', '-c', `cd elsewhere && ${dockerfileInstruction('RUN', /prune-binaries/)}`])
    expect((await cleanup.exited).code).not.toBe(0)
  })

  it('starts from production dependencies alone, is healthy while it runs, and ends with 0 on SIGTERM', async () => {
    const [port, internalPort] = [await freePort(), await freePort()]
    const settings = {
      FANFARE_PORT: String(port),
      FANFARE_INTERNAL_PORT: String(internalPort),
      FANFARE_AUTH_TOKENS: 'alice=secret-a',
    }
    const healthCheck = () => run(execForm(dockerfileInstruction('HEALTHCHECK')), settings).exited
    expect((await healthCheck()).code).toBe(1)

    const command = [
      ...execForm(dockerfileInstruction('ENTRYPOINT')),
      ...execForm(dockerfileInstruction('CMD')),
    ]
    // On the loopback address instead of 0.0.0.0: a test serves no other machines.
    const node = run(command, { ...settings, FANFARE_HOST: '127.0.0.1', FANFARE_INTERNAL_HOST: '127.0.0.1' })
    await node.line(/"msg":"ready"/)
    expect((await healthCheck()).code).toBe(0)
    node.kill('SIGTERM')
    expect(await node.exited, node.output).toEqual({ code: 0, signal: null })
  })
})
