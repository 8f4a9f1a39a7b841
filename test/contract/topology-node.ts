import { readFileSync } from 'node:fs'
import type { Broker } from '../../src/broker/broker.js'
import { composeRelay, type Relay } from '../../src/compose-relay.js'
import { parseRedisAddresses } from '../../src/config/redis-address.js'
import { createLogger } from '../../src/log.js'
import { Metrics } from '../../src/metrics/metrics.js'
import type { Peers } from '../../src/node/peers.js'
import type { PresenceStore } from '../../src/presence/presence-store.js'
import { Keys } from '../../src/redis/keys.js'
import { CERT_PATH, KEY_PATH } from '../support/tls/files.js'
import { Recorder } from './recorder.js'

/** For servers with TLS, which know the node by this certificate too. */
const CERTIFICATES = {
  ca: readFileSync(CERT_PATH),
  cert: readFileSync(CERT_PATH),
  key: readFileSync(KEY_PATH),
}
const QUEUE_BYTES = 16 * 1024 ** 2

/** The parts of a node that use Redis, wired as in a node, whatever Redis there is. */
export class TopologyNode {
  readonly metrics = new Metrics('test')
  readonly keys: Keys
  readonly recorder = new Recorder()
  readonly broker: Broker
  readonly peers: Peers
  readonly presence: PresenceStore
  /** The presence that this node shares with others, by Redis. */
  readonly shared: Relay['sharedPresence']
  private readonly relay: Relay

  constructor(url: string, id = 'node') {
    const addresses = parseRedisAddresses(url)
    const [{ database, target }] = addresses
    this.keys = new Keys('test', { database, isCluster: target.type === 'cluster' })
    const redis = { addresses, certificates: CERTIFICATES, prefix: 'test', queueBytes: QUEUE_BYTES }
    const log = createLogger({ level: 'silent', format: 'json' })
    this.relay = composeRelay({ id, redis, log, metrics: this.metrics })
    const { broker, peers, presenceStore, sharedPresence } = this.relay
    this.broker = broker
    this.peers = peers
    this.presence = presenceStore
    this.shared = sharedPresence
    this.broker.start(this.recorder)
  }

  /** Reasons why Redis cannot do all that this node needs, by shard. */
  get reasons(): ReturnType<Relay['reasons']> {
    return this.relay.reasons()
  }

  /** Announces this node wherever it shares presence. Rejects with a BrokerError unless all Redis can be reached. */
  async announce(): Promise<void> {
    await Promise.all(this.shared.map(({ nodes }) => nodes.announce()))
    // Among so many channels there is one on each server.
    const channels = Array.from({ length: 50 }, (_, index) => `${index}`)
    await Promise.all(channels.map((channel) => this.presence.stats(channel)))
  }

  close(): void {
    this.relay.close()
  }
}
