import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { callApi } from '../support/api.js'
import { Cluster } from '../support/cluster.js'

describe('a backend that calls one of three nodes', () => {
  let cluster: Cluster
  beforeAll(async () => {
    cluster = await Cluster.start()
  })
  afterAll(() => cluster.stop())

  const everywhere = (path: string) =>
    Promise.all([cluster.open(0, path), cluster.open(1, path), cluster.open(2, path)])
  const call = (method: string, body: unknown) => callApi(cluster.nodes[0], method, body)

  it('disconnects a user from all nodes', async () => {
    const clients = await everywhere('/ws/disconnect')
    const { body } = await call('disconnect', { user: 'tester', code: 4001, reason: 'bye' })
    expect(body.result).toEqual({ num_clients: 3 })
    for (const client of clients) expect(await client.closed).toEqual({ code: 4001, reason: 'bye' })
  })

  it('unsubscribes a user on all nodes', async () => {
    const clients = await everywhere('/ws/unsubscribe')
    const { body } = await call('unsubscribe', { user: 'tester', channel: 'unsubscribe' })
    expect(body.result).toEqual({ num_clients: 3 })
    for (const client of clients) {
      expect(await client.closed).toEqual({ code: 3503, reason: 'Unsubscribed by the server' })
    }
  })

  it('expires the connections of a user on all nodes', async () => {
    const clients = await everywhere('/ws/refresh')
    const later = { user: 'tester', expire_at: Math.floor(Date.now() / 1_000) + 3_600 }
    expect((await call('refresh', later)).body.result).toEqual({ num_clients: 3 })
    expect((await call('refresh', { user: 'tester' })).body.result).toEqual({ num_clients: 3 })
    expect((await call('refresh', { user: 'tester', expired: true })).body.result).toEqual({ num_clients: 3 })
    for (const client of clients) {
      expect(await client.closed).toEqual({ code: 3005, reason: 'connection expired' })
    }
  })

  it('receives the error when every connection refuses, on whichever node they are', async () => {
    const client = await cluster.open(2, '/ws/subscribe')
    const { body } = await call('subscribe', { user: 'tester', channel: 'other', info: [1], data: 'x' })
    expect(body.error?.code).toBe(108)
    client.close()
    await client.closed
  })

  it('is answered while a node is frozen, with the id of the node that did not answer', async () => {
    const info = await callApi(cluster.nodes[1], 'info', {})
    const nodes = info.body.result?.['nodes'] as { uid: string; name: string }[]
    const frozen = nodes.find(({ name }) => name.endsWith(`:${cluster.nodes[1].port}`))
    const [onFirst, onFrozen] = await Promise.all([
      cluster.open(0, '/ws/frozen'),
      cluster.open(1, '/ws/frozen'),
    ])
    cluster.nodes[1].child.kill('SIGSTOP')
    try {
      const { body } = await call('disconnect', { user: 'tester' })
      expect(body.result).toEqual({ num_clients: 1, missing_nodes: [frozen?.uid] })
      expect((await onFirst.closed).code).toBe(3503)
    } finally {
      cluster.nodes[1].child.kill('SIGCONT')
    }
    // The frozen node disconnects its clients as soon as it continues.
    expect((await onFrozen.closed).code).toBe(3503)
  })
})
