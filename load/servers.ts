import { randomBytes } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { Child } from '../deploy/local/child-process.js'
import { FanfareProcess } from '../deploy/local/fanfare-process.js'
import type { Credentials } from './clients/requests.js'

export const SERVER_NAMES = ['fanfare', 'uws', 'ws'] as const

export type ServerName = (typeof SERVER_NAMES)[number]

/** A server under test, in a process of its own. */
export interface Server {
  name: ServerName
  child: Child
  pid: number
  /** For example `ws://127.0.0.1:8000`. */
  url: string
  /** Of its clients. */
  credentials: Credentials
  stop(): Promise<unknown>
}

export interface LoadSettings {
  settings: Record<string, string>
  /** Authenticates raw clients. */
  token: string
  /** Signs tokens of clients. */
  hmacSecret: string
}

/** Generates settings of nodes for a load run, and the secrets of its clients. Without a Redis, nodes relay in memory. */
export function loadSettings(redisUrl: string | undefined): LoadSettings {
  const token = randomBytes(16).toString('hex')
  const hmacSecret = randomBytes(32).toString('hex')
  return {
    token,
    hmacSecret,
    settings: {
      ...(redisUrl !== undefined && { FANFARE_REDIS_URL: redisUrl }),
      FANFARE_AUTH_TOKENS: `load=${token}`,
      FANFARE_AUTH_HMAC_SECRET: hmacSecret,
      FANFARE_API_KEY: randomBytes(16).toString('hex'),
      FANFARE_LOG_LEVEL: 'info',
      FANFARE_DRAIN_WINDOW: '1s',
    },
  }
}

/** Starts a server with this process's environment and the variables of `environment`. */
export function startServer(
  name: ServerName,
  redisUrl: string,
  environment: Record<string, string> = {},
): Promise<Server> {
  return name === 'fanfare' ? startFanfare(redisUrl, environment) : startBaseline(name, redisUrl, environment)
}

/** Starts a node; without a Redis it is a cluster of its own. */
export async function startFanfare(
  redisUrl: string | undefined,
  environment: Record<string, string>,
): Promise<Server> {
  const { settings, token, hmacSecret } = loadSettings(redisUrl)
  const node = await FanfareProcess.start({ ...settings, ...environment })
  return {
    name: 'fanfare',
    child: node.child,
    pid: node.child.pid,
    url: node.wsUrl,
    credentials: { headers: { 'X-Auth-Token': token }, hmacSecret },
    stop: () => node.child.stop(),
  }
}

async function startBaseline(
  name: 'uws' | 'ws',
  redisUrl: string,
  environment: Record<string, string>,
): Promise<Server> {
  const module = fileURLToPath(new URL(`./baselines/${name}-ioredis.js`, import.meta.url))
  const child = new Child(process.execPath, [module, redisUrl], { env: { ...process.env, ...environment } })
  const line = await child.line(/^listening on \d+$/)
  const port = line.slice(line.lastIndexOf(' ') + 1)
  return {
    name,
    child,
    pid: child.pid,
    url: `ws://127.0.0.1:${port}`,
    credentials: { headers: {}, hmacSecret: '' },
    stop: () => child.stop('SIGKILL'),
  }
}
