import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parse } from 'yaml'
import { z } from 'zod'
import { Child } from '../../deploy/local/child-process.js'
import { FanfareProcess } from '../../deploy/local/fanfare-process.js'
import { freePort } from '../../deploy/local/free-port.js'
import { API_KEY } from './api.js'
import { ROOT } from './repository.js'

const FOLDER = 'deploy/redis/'
/** Where containers have that folder. */
const MOUNTED = '/etc/redis/'

const service = z.object({
  image: z.string(),
  command: z.array(z.string()).optional(),
  environment: z.record(z.string(), z.string()).optional(),
  ports: z.array(z.string()).optional(),
  volumes: z.array(z.string()).optional(),
  networks: z
    .union([z.array(z.string()), z.record(z.string(), z.object({ ipv4_address: z.string() }))])
    .optional(),
  stop_grace_period: z.string().optional(),
  healthcheck: z.object({ test: z.array(z.string()) }).optional(),
})

export type RedisService = z.infer<typeof service>

/** The services of a file of Docker Compose in deploy/redis/. */
export function redisServices(file: string): Readonly<Record<string, RedisService>> {
  const text = readFileSync(`${ROOT}${FOLDER}${file}`, 'utf8')
  return z.object({ services: z.record(z.string(), service) }).parse(parse(text, { merge: true })).services
}

/** A server of such a file as a process of this machine. */
interface LocalServer {
  readonly port: number
  /** Of the bus of a Redis Cluster. */
  readonly bus: number
  readonly directory: string
}

/**
 * Runs the services of such a file as processes of this machine: with their commands and configurations as they are, but
 * for the addresses, which become ports of 127.0.0.1.
 */
export class RedisDeployment {
  readonly services: Readonly<Record<string, RedisService>>
  private readonly directory = mkdtempSync(join(tmpdir(), 'fanfare-deployment-'))
  private readonly servers = new Map<string, LocalServer>()
  private readonly children = new Map<string, Child>()

  constructor(file: string) {
    this.services = redisServices(file)
  }

  /** Starts services, once the lines that tell that they are ready are printed. */
  async start(names: readonly string[], ready: RegExp): Promise<void> {
    for (const name of names) {
      const directory = join(this.directory, name)
      mkdirSync(directory)
      this.servers.set(name, { port: await freePort(), bus: await freePort(), directory })
    }
    await Promise.all(names.map((name) => this.run(name).line(ready)))
  }

  /** Runs a service that ends by itself. Resolves with its exit code. */
  async finish(name: string): Promise<number | null> {
    const { code } = await this.run(name).exited
    return code
  }

  async kill(name: string): Promise<void> {
    await this.children.get(name)?.stop('SIGKILL')
  }

  /** Where a server of Redis is, for a client without a password. */
  url(name: string): string {
    return `redis://127.0.0.1:${this.servers.get(name)?.port}`
  }

  output(name: string): string {
    return this.children.get(name)?.output ?? ''
  }

  /** Starts a node with the environment of a service, and these settings. */
  startNode(name: string, settings: Readonly<Record<string, string>>): Promise<FanfareProcess> {
    const redisUrl = this.services[name]?.environment?.['FANFARE_REDIS_URL'] ?? ''
    return FanfareProcess.start({
      FANFARE_REDIS_URL: this.localized(redisUrl),
      FANFARE_AUTH_TOKENS: 'tester=secret',
      FANFARE_API_KEY: API_KEY,
      ...settings,
    })
  }

  async remove(): Promise<void> {
    await Promise.all([...this.children.values()].map((child) => child.stop('SIGKILL')))
    rmSync(this.directory, { recursive: true, force: true })
  }

  private run(name: string): Child {
    const [program = '', ...args] = this.services[name]?.command ?? []
    const server = this.servers.get(name)
    const files = join(this.directory, `${name}-files/`)
    this.copyFiles(files)
    const local = args.map((arg) =>
      this.localized(arg)
        .replaceAll('/tmp/', `${server?.directory ?? files}/`)
        .replaceAll(MOUNTED, files),
    )
    // A Valkey takes the arguments of a Redis.
    const child = new Child(
      program.replace('valkey', 'redis'),
      server === undefined ? local : withPort(program, local, server),
    )
    this.children.set(name, child)
    return child
  }

  /** Copies the configurations, which include each other by the path that containers have them at. */
  private copyFiles(files: string): void {
    cpSync(`${ROOT}${FOLDER}`, files, { recursive: true })
    for (const file of readdirSync(files).filter((one) => one.endsWith('.conf'))) {
      const path = join(files, file)
      writeFileSync(path, this.localized(readFileSync(path, 'utf8')).replaceAll(MOUNTED, files))
    }
  }

  /** Replaces the addresses of services: names or numbers, with their ports or without. */
  private localized(text: string): string {
    let result = text
    for (const [name, { port, bus }] of this.servers) {
      const networks = this.services[name]?.networks
      const address =
        Array.isArray(networks) || networks === undefined ? name : networks['redis']?.ipv4_address
      const host = String(address).replaceAll('.', '\\.')
      const isCreated = text.includes('--cluster create')
      result = result
        .replaceAll(new RegExp(`-h ${host}\\b`, 'g'), `-h 127.0.0.1 -p ${port}`)
        .replaceAll(new RegExp(`\\b${host}:\\d+`, 'g'), `127.0.0.1:${port}${isCreated ? `@${bus}` : ''}`)
        .replaceAll(new RegExp(`\\b${host} \\d+`, 'g'), `127.0.0.1 ${port}`)
        .replaceAll(new RegExp(`^${host}$`, 'g'), '127.0.0.1')
    }
    return result
  }
}

/** The arguments of a server on a port of its own. */
function withPort(program: string, args: readonly string[], { port, bus, directory }: LocalServer): string[] {
  const own = ['--port', `${port}`, '--bind', '127.0.0.1']
  if (program === 'sh') return args.map((arg) => (arg === '-c' ? arg : `${arg} ${own.join(' ')}`))
  const isCluster = args.some((arg) => arg.endsWith('cluster.conf'))
  return [...args, ...own, '--dir', directory, ...(isCluster ? ['--cluster-port', `${bus}`] : [])]
}
