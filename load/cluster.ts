import { FanfareProcess } from '../deploy/local/fanfare-process.js'
import { RedisServer } from '../deploy/local/redis-server.js'
import { ensureInstalled } from '../deploy/local/system-packages.js'
import type { Cleanup } from './cleanup.js'
import { loadSettings } from './servers.js'

const NODES = 3

export interface Cluster {
  /** One for each node, for example `ws://127.0.0.1:8000`. */
  urls: string[]
  /** Authenticates raw clients. */
  token: string
}

/** Starts three nodes with a Redis of their own; the cleanup stops them. */
export async function startCluster(cleanup: Cleanup): Promise<Cluster> {
  ensureInstalled(['redis-server'])
  console.log(`starting ${NODES} nodes and Redis`)
  const redis = await RedisServer.start()
  cleanup.defer(() => redis.remove())
  const { settings, token } = loadSettings(redis.url)
  const urls: string[] = []
  for (let index = 0; index < NODES; index += 1) {
    const node = await FanfareProcess.start(settings)
    cleanup.defer(() => node.child.stop())
    urls.push(node.wsUrl)
  }
  return { urls, token }
}
