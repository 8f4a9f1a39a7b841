import { readFileSync } from 'node:fs'
import { RedisBroker } from '../../src/broker/redis-broker.js'
import { parseRedisAddress } from '../../src/config/redis-address.js'
import { createLogger, type Logger } from '../../src/log.js'
import { Metrics } from '../../src/metrics/metrics.js'
import { RedisPeers } from '../../src/node/redis-peers.js'
import { RedisPresenceStore } from '../../src/presence/redis-presence-store.js'
import { ByteBudget } from '../../src/redis/byte-budget.js'
import { Keys } from '../../src/redis/keys.js'
import { RedisLink } from '../../src/redis/redis-link.js'
import { CERT_PATH, KEY_PATH } from '../support/tls/files.js'
import { Recorder } from './recorder.js'

/** For servers with TLS, which know the node by this certificate too. */
const CERTIFICATES = {
  ca: readFileSync(CERT_PATH),
  cert: readFileSync(CERT_PATH),
  key: readFileSync(KEY_PATH),
}
const DEFAULT_QUEUE_BYTES = 16 * 1024 ** 2

function silentLogger(): Logger {
  return createLogger({ level: 'silent', format: 'json' })
}

/** The parts of a node that use Redis: its broker, peers and presence store. */
export class RedisNode {
  readonly metrics = new Metrics('test')
  readonly keys: Keys
  readonly recorder = new Recorder()
  readonly broker: RedisBroker
  readonly peers: RedisPeers
  readonly presence: RedisPresenceStore
  private readonly link: RedisLink

  constructor(url: string, id = 'node', queueBytes = DEFAULT_QUEUE_BYTES, log = silentLogger()) {
    const address = parseRedisAddress(url)
    const { metrics } = this
    this.keys = new Keys('test', { database: address.database })
    this.link = new RedisLink({
      address,
      certificates: CERTIFICATES,
      keys: this.keys,
      shard: '0',
      budget: new ByteBudget(queueBytes, (bytes) => {
        metrics.relayQueueBytes.value = bytes
      }),
      log,
      metrics,
    })
    const onMalformed = () => this.metrics.relayMalformed.inc()
    this.broker = new RedisBroker(this.link, this.keys, onMalformed)
    this.peers = new RedisPeers({ node: id, links: this.link, keys: this.keys, onMalformed })
    this.presence = new RedisPresenceStore(id, this.link, this.keys)
    this.broker.start(this.recorder)
    this.link.start()
  }

  /** Reasons why Redis cannot do all that this node needs. */
  get reasons(): readonly string[] {
    return Object.values(this.link.reasonsByShard).flat()
  }

  close(): void {
    this.link.close()
  }

  async malformedCount(): Promise<number> {
    return (await this.metrics.relayMalformed.get()).values[0]?.value ?? 0
  }

  /** The value of the gauge of queued bytes. */
  get queuedBytes(): number {
    return this.metrics.relayQueueBytes.value
  }

  /** The number of reconnections of both its connections. */
  async reconnections(): Promise<number> {
    const { values } = await this.metrics.redisReconnects.get()
    return values.reduce((sum, { value }) => sum + value, 0)
  }

  /** The number of relay messages that were sent, and of the entries in them. */
  get sent(): { messages: number; entries: number } {
    const { count, sum } = this.metrics.relayBatchSize
    return { messages: count, entries: sum }
  }
}
