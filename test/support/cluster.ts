import type { Options } from 'centrifuge'
import { FanfareProcess } from '../../deploy/local/fanfare-process.js'
import { RedisServer } from '../../deploy/local/redis-server.js'
import { API_KEY } from './api.js'
import { RawClient } from './raw-client.js'
import { SdkClient } from './sdk-client.js'

export const TOKEN = 'the-token'

/** Three nodes that share a Redis of their own. */
export class Cluster {
  private constructor(
    readonly redis: RedisServer,
    readonly nodes: readonly [FanfareProcess, FanfareProcess, FanfareProcess],
  ) {}

  static async start(settings: Record<string, string> = {}): Promise<Cluster> {
    const redis = await RedisServer.start()
    const start = () =>
      FanfareProcess.start({
        FANFARE_REDIS_URL: redis.url,
        FANFARE_AUTH_TOKENS: `tester=${TOKEN}`,
        FANFARE_API_KEY: API_KEY,
        ...settings,
      })
    return new Cluster(redis, await Promise.all([start(), start(), start()]))
  }

  /** Connects a raw client to the node with this number. */
  open(node: 0 | 1 | 2, path: string): Promise<RawClient> {
    return RawClient.connect(`${this.nodes[node].wsUrl}${path}`, { token: TOKEN })
  }

  /** Connects a client of the official SDK to the node with this number. */
  sdk(node: 0 | 1 | 2, options: Partial<Options> = {}): Promise<SdkClient> {
    return SdkClient.connect(this.nodes[node].wsUrl, { token: TOKEN, ...options })
  }

  async stop(): Promise<void> {
    this.redis.resume()
    await Promise.all(this.nodes.map(({ child }) => child.stop('SIGKILL')))
    await this.redis.remove()
  }
}
