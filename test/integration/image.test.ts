import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { Child } from '../support/child-process.js'
import { dockerfileInstruction, shipped, TOP } from '../support/deployment.js'
import { freePort } from '../support/free-port.js'

const OWN_BINARY = `uws_${process.platform}_${process.arch}_${process.versions.modules}.node`
const OTHER_BINARIES = [
  'uws_win32_x64_137.node',
  'uws_linux_arm_115.node',
  `uws_${process.platform}_${process.arch}_1.node`,
]
const UWS = join('node_modules', 'uWebSockets.js')

/** A form of RUN, CMD, ENTRYPOINT that names a program and its arguments. */
function execForm(value: string): string[] {
  return z.array(z.string()).parse(JSON.parse(value.slice(value.indexOf('['))))
}

/** What `npm ci --omit=dev` would install, taken from this machine's node_modules, and the rest of what the image holds. */
function layFiles(directory: string): void {
  const entry = z.object({ dev: z.boolean().optional(), optional: z.boolean().optional() })
  const lock = z.object({ packages: z.record(z.string(), entry) })
  const { packages } = lock.parse(JSON.parse(shipped('package-lock.json')))
  for (const [path, { dev, optional }] of Object.entries(packages)) {
    if (path === '' || dev === true || path === 'node_modules/uWebSockets.js') continue
    // For another platform, for example.
    if (optional === true && !existsSync(join(TOP, path))) continue
    cpSync(join(TOP, path), join(directory, path), { recursive: true })
  }
  mkdirSync(join(directory, UWS), { recursive: true })
  for (const name of readdirSync(join(TOP, UWS))) {
    const [from, to] = [join(TOP, UWS, name), join(directory, UWS, name)]
    if (!name.endsWith('.node')) cpSync(from, to, { recursive: true })
  }
  cpSync(join(TOP, UWS, OWN_BINARY), join(directory, UWS, OWN_BINARY))
  // The others are large, and only those of this platform are installed: their names do.
  for (const name of OTHER_BINARIES) writeFileSync(join(directory, UWS, name), '')
  mkdirSync(join(directory, 'dist'))
  cpSync(join(TOP, 'dist', 'src'), join(directory, 'dist', 'src'), { recursive: true })
  cpSync(join(TOP, 'package.json'), join(directory, 'package.json'))
  layPruning(directory)
}

function layPruning(directory: string): void {
  const path = join('deploy', 'prune-binaries.mjs')
  cpSync(join(TOP, path), join(directory, path))
}

describe('the image, its files laid out and its commands run without Docker', () => {
  const directory = mkdtempSync(join(tmpdir(), 'fanfare-image-'))
  const children: Child[] = []

  function run([command = '', ...args]: string[], env: Record<string, string> = {}): Child {
    // An image has no settings but its own, and node is where the PATH says.
    const child = new Child(command, args, {
      cwd: directory,
      env: { PATH: `${dirname(process.execPath)}:${process.env['PATH']}`, NODE_ENV: 'production', ...env },
    })
    children.push(child)
    return child
  }

  beforeAll(() => layFiles(directory))

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

  it('fails to build where there is no binary for its platform', async () => {
    const elsewhere = join(directory, 'elsewhere')
    mkdirSync(join(elsewhere, UWS), { recursive: true })
    for (const name of ['uws.js', 'package.json']) {
      cpSync(join(directory, UWS, name), join(elsewhere, UWS, name))
    }
    writeFileSync(join(elsewhere, UWS, 'uws_linux_none_1.node'), '')
    layPruning(elsewhere)
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
    // Loopback here, where the image says 0.0.0.0: a test is no server for others.
    const node = run(command, { ...settings, FANFARE_HOST: '127.0.0.1', FANFARE_INTERNAL_HOST: '127.0.0.1' })
    await node.line(/"msg":"ready"/)
    expect((await healthCheck()).code).toBe(0)
    node.kill('SIGTERM')
    expect(await node.exited, node.output).toEqual({ code: 0, signal: null })
  })
})
