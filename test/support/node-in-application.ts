import { type CreateNodeOptions, createNode, type FanfareNode } from '../../src/index.js'
import { afterThisTest } from './clean-ups.js'
import { SdkClient } from './sdk-client.js'

const ANY_PORTS = { port: 0, internalPort: 0, logLevel: 'silent', drainWindow: 0 }

/** Starts a node in this process, as an application does. It is stopped after the test. */
export async function startNode({ settings, ...options }: CreateNodeOptions = {}): Promise<FanfareNode> {
  const node = await createNode({ settings: { ...ANY_PORTS, ...settings }, ...options })
  afterThisTest(() => node.stop())
  return node
}

/** Connects a client of the official SDK. It is disconnected after the test. */
export async function connectTo(node: FanfareNode, options = {}): Promise<SdkClient> {
  const client = await SdkClient.connect(`ws://127.0.0.1:${node.port}`, { token: 'any', ...options })
  afterThisTest(() => client.close())
  return client
}

/** Hooks that authenticate every client as Alice. */
export const asAlice = { connect: () => ({ user: 'alice' }) }
