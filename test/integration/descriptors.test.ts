import { connect, type Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FanfareProcess } from '../../deploy/local/fanfare-process.js'
import { eventually, metric } from '../support/metric.js'
import { RawClient } from '../support/raw-client.js'

const DESCRIPTORS = 600

describe('a node with more connections than descriptors', () => {
  let node: FanfareProcess
  beforeAll(async () => {
    node = await FanfareProcess.start({ FANFARE_AUTH_ANONYMOUS: 'true' }, { descriptors: DESCRIPTORS })
  })
  afterAll(() => node.child.stop())

  it('cuts the excess connections, continues to serve, and accepts others after they have closed', async () => {
    const client = await RawClient.connect(`${node.wsUrl}/ws/room`)
    const sockets: Socket[] = []
    for (let index = 0; index < 2 * DESCRIPTORS; index++) {
      const socket = connect(node.port, '127.0.0.1')
      // The test expects the node to cut it.
      socket.on('error', () => undefined)
      sockets.push(socket)
    }
    const refused = async () =>
      metric(await node.metrics(), 'fanfare_connection_rejections_total', '{reason="descriptors"}')
    await eventually(async () => (await refused()) > DESCRIPTORS / 2, 'the excess connections are cut')
    client.send('ping')
    expect(await client.nextText()).toBe('pong')
    for (const socket of sockets) socket.destroy()
    await eventually(
      () =>
        RawClient.connect(`${node.wsUrl}/ws/room`).then(
          () => true,
          () => false,
        ),
      'a client can connect again',
    )
  })
})
