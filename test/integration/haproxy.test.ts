import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { HaproxyProcess } from '../support/haproxy-process.js'
import { RawClient, refusalOf } from '../support/raw-client.js'
import { StandInNode } from '../support/stand-in-node.js'

let nodes: [StandInNode, StandInNode, StandInNode]
let haproxy: HaproxyProcess
const clients: RawClient[] = []

beforeEach(async () => {
  nodes = await Promise.all([
    StandInNode.start('node1'),
    StandInNode.start('node2'),
    StandInNode.start('node3'),
  ])
  haproxy = await HaproxyProcess.start(nodes)
})

afterEach(async () => {
  for (const { socket } of clients.splice(0)) socket.terminate()
  await haproxy?.remove()
  await Promise.all((nodes ?? []).map((node) => node.remove()))
})

async function connect(headers: Record<string, string> = {}, path = '/ws/room'): Promise<RawClient> {
  const client = await RawClient.connect(`${haproxy.wsUrl}${path}`, { headers })
  clients.push(client)
  return client
}

/** Resolves with the name of the node of a connection, which answers any message with it. */
function nodeOf(client: RawClient): Promise<string> {
  client.send('who?')
  return client.nextText()
}

async function nodesOf(count: number): Promise<string[]> {
  const names: string[] = []
  for (let connection = 0; connection < count; connection++) names.push(await nodeOf(await connect()))
  return names
}

function publish(): Promise<Response> {
  return fetch(`${haproxy.httpUrl}/api/publish`, { method: 'POST', body: '{}' })
}

describe('the shipped HAProxy configuration', () => {
  it('sends a new connection to the node with the fewest', async () => {
    expect((await nodesOf(6)).sort()).toEqual(['node1', 'node1', 'node2', 'node2', 'node3', 'node3'])
    for (const client of [...clients]) {
      if ((await nodeOf(client)) === 'node2') client.close()
    }
    await expect.poll(() => haproxy.sessions()).toEqual({ node1: 2, node2: 0, node3: 2 })
    expect(await nodesOf(2)).toEqual(['node2', 'node2'])
  })

  it('sends no new connection to a node that is not ready, keeps its connections, and uses it again later', async () => {
    const established = await connect()
    const [name] = [await nodeOf(established)]
    const node = nodes.find((candidate) => candidate.name === name)
    if (node === undefined) throw new Error(`no node is called ${name}`)

    node.readyStatus = 503
    await haproxy.child.line(
      new RegExp(`Server nodes/${name} is DOWN, reason: Layer7 wrong status, code: 503`),
    )
    expect(await nodesOf(6)).not.toContain(name)
    expect(await nodeOf(established)).toBe(name)

    node.readyStatus = 200
    await haproxy.child.line(new RegExp(`Server nodes/${name} is UP`))
    await expect.poll(() => nodesOf(1)).toEqual([name])
    expect(await nodeOf(established)).toBe(name)
  })

  it('keeps every connection while no node is ready, and answers an outer balancer that it is not ready', async () => {
    const established = await connect()
    const name = await nodeOf(established)
    for (const node of nodes) node.readyStatus = 503
    await haproxy.child.line(/backend nodes has no server available/)
    expect(await nodeOf(established)).toBe(name)
    expect(await refusalOf(connect())).toMatchObject({ status: 503 })
    expect((await fetch(`http://127.0.0.1:${haproxy.operationsPort}/ready`)).status).toBe(503)
  })

  it('tries another node when one has stopped listening since its last check', async () => {
    nodes[0].stopListening()
    expect((await nodesOf(4)).sort()).toEqual(['node2', 'node2', 'node3', 'node3'])
  })

  it('publishes through another node when one has stopped listening', async () => {
    nodes[0].stopListening()
    for (let publication = 0; publication < 3; publication++) expect((await publish()).status).toBe(200)
  })

  it('tries another node when one dies during a handshake', async () => {
    nodes[0].isDying = true
    expect((await nodesOf(4)).sort()).toEqual(['node2', 'node2', 'node3', 'node3'])
    expect(nodes[0].requests.length).toBeGreaterThan(0)
  })

  it('never repeats a publication that a node may have received', async () => {
    for (const node of nodes) node.isDying = true
    expect((await publish()).status).toBe(502)
    expect(nodes.flatMap((node) => node.requests)).toHaveLength(1)
  })

  it('passes on the refusal of a node, and tries no other', async () => {
    for (const node of nodes) node.publicStatus = 503
    const answer = await fetch(`${haproxy.httpUrl}/ws/room`)
    expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '7'])
    expect(nodes.flatMap((node) => node.requests)).toHaveLength(1)
  })

  it('sends the real address of the client to nodes, and drops an address that the client sent', async () => {
    await connect({ 'X-Forwarded-For': '203.0.113.7' })
    const headers = nodes
      .flatMap((node) => node.requests)
      .map((request) => request.headers['x-forwarded-for'])
    expect(headers).toEqual(['127.0.0.1'])
  })

  it('logs the path of a request without its query, which may contain a token', async () => {
    const client = await connect({}, '/ws/room?token=secret-a')
    client.close()
    await haproxy.child.line(/GET \/ws\/room$/)
    await fetch(`${haproxy.httpUrl}/bad path?token=secret-b`)
    await haproxy.child.line(/GET \/bad%20path$/)
    expect(haproxy.child.output).not.toContain('secret')
  })
})
