import { readdirSync, readFileSync } from 'node:fs'
import { Redis } from 'ioredis'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { RedisServer } from '../../deploy/local/redis-server.js'
import { UNUSED_EPOCH_TTL_MS } from '../../src/channel/stream-epoch.js'
import {
  decodeMessage,
  decodeStreamEntry,
  encodeEntry,
  encodeMessage,
  type RelayEvent,
} from '../../src/redis/relay-message.js'
import { clientInfo, publication } from '../contract/publications.js'
import { callApi } from '../support/api.js'
import { BinaryLayout } from '../support/binary-layout.js'
import { afterThisTest, cleanUp } from '../support/clean-ups.js'
import { Cluster } from '../support/cluster.js'
import { documentedKeys, isDocumentedAs, keysInCode } from '../support/documented-keys.js'
import { spyOnMethods } from '../support/method-spies.js'
import { connectTo, startNode } from '../support/node-in-application.js'
import { codesIn, Page } from '../support/page.js'
import { RawClient } from '../support/raw-client.js'
import { type RedisCommand, RedisMonitor } from '../support/redis-monitor.js'
import { ROOT } from '../support/repository.js'
import { settingNamed, shown } from '../support/shown.js'
import { constantOf } from '../support/source-constants.js'
import { isDeclared, pathOfType, SOURCE_PATHS, sourceOf } from '../support/source-names.js'

afterEach(cleanUp)
afterEach(() => void vi.restoreAllMocks())

const page = new Page('docs/architecture.md')
const layouts = { message: new BinaryLayout(page, 'message'), entry: new BinaryLayout(page, 'entry') }
const BOUNDS = ['repair-bounds', 'presence-bounds', 'node-times', 'worker-times']

const rooms = page
  .code('rooms')
  .trimEnd()
  .split('\n')
  .map((line) => line.split(' ')[0] ?? '')

/** Files of src/ that every room may import. */
const forAll = readdirSync(`${ROOT}src`).filter((name) => name.endsWith('.ts') && !rooms.includes(name))

/** The room of a file, by its path from the top of the repository. */
function roomOf(path: string): string {
  return path.split('/')[1] ?? ''
}

/** Names of classes with a method, in their order: `Hub.receive`. */
function methodsIn(drawing: string): readonly string[] {
  return [...drawing.matchAll(/\b[A-Z][a-z]\w*\.[a-z]\w+/g)].map(([name]) => name)
}

describe('the page about the architecture: rooms', () => {
  it('has every room of src, and no other', () => {
    const present = readdirSync(`${ROOT}src`).filter((name) => !forAll.includes(name))
    expect(rooms.toSorted(), page.where('rooms')).toEqual(present.sort())
    // Named in the text, where no room is.
    const named = codesIn(page.prose).filter((code) => /^[a-z-]+\.ts$/.test(code) && !rooms.includes(code))
    expect(named.toSorted(), page.path).toEqual(forAll.toSorted())
  })

  it('has them in the order that the linter enforces', () => {
    const rules = readFileSync(`${ROOT}.biome/imports.grit`, 'utf8')
    const forbidden = rules.matchAll(
      /\$filename <: r"\.\*\/src\/(\w+)\/\.\*",\s*\$source <: r"\.\*\/(?:\(\?:)?([\w|]+)\)?\/\.\*"/g,
    )
    const folders = rooms.filter((room) => !room.endsWith('.ts'))
    const ordered = new Map([...forbidden].map(([, room = '', below = '']) => [room, below.split('|')]))
    expect([...ordered.keys()], page.where('rooms')).toEqual(folders.slice(0, -1))
    for (const [room, below] of ordered)
      expect(below, page.where('rooms')).toEqual(folders.slice(folders.indexOf(room) + 1))
  })

  it('has none that imports from one below it', () => {
    // Files for all stand above the first room.
    const wrong = SOURCE_PATHS.flatMap((path) => {
      const imported = [...sourceOf(path).matchAll(/ from '(\.[^']+)\.js'/g)].map(([, relative = '']) =>
        roomOf(new URL(`${relative}.ts`, `file:///${path}`).pathname.slice(1)),
      )
      return imported
        .filter((room) => rooms.indexOf(room) > rooms.indexOf(roomOf(path)))
        .map((room) => `${path} imports from ${room}`)
    })
    expect(wrong, page.where('rooms')).toEqual([])
  })

  it('has every port, where it is, and its implementations', () => {
    const rows = page.rows('ports')
    for (const { line, cells } of rows) {
      const [port = '', path = '', ...implementations] = cells.flatMap(codesIn)
      expect(pathOfType(port), page.at(line)).toBe(path)
      for (const name of implementations) {
        const declared = new RegExp(`^export class ${name} .*\\b${port}\\b`, 'm')
        expect(sourceOf(pathOfType(name)), page.at(line)).toMatch(declared)
      }
    }
    const picked = [
      ...sourceOf('src/compose-relay.ts').matchAll(/import \{ ((?:Memory|Redis|Sharded)\w+) \}/g),
    ]
    const documented = rows.flatMap(({ cells }) => codesIn(cells.slice(2).join(' ')))
    const others = ['RedisCluster', 'RedisMembership']
    const forPorts = picked.map(([, name = '']) => name).filter((name) => !others.includes(name))
    expect(forPorts).not.toEqual([])
    expect(documented, page.where('ports')).toEqual(expect.arrayContaining(forPorts))
  })
})

describe('the page about the architecture: names', () => {
  it('has for every word a name in the code', () => {
    for (const { line, cells } of page.rows('words')) {
      const names = codesIn(cells[2] ?? '').filter((code) => !code.includes('/'))
      expect(names, page.at(line)).not.toEqual([])
      for (const name of names) expect(isDeclared(name), `${page.at(line)}: ${name}`).toBe(true)
    }
  })

  it('has no name of a class, function, constant, setting or script that the code does not have', () => {
    const drawn = page.fences
      .map(({ content }) => content.replaceAll('uWebSockets.js', ''))
      .flatMap(
        (text) =>
          text.match(/\b(?:[A-Z][a-z]+[A-Z]\w*|[a-z]+[A-Z]\w*|[A-Z][a-z]\w*\.[a-z]\w*)(?:\.[a-z]\w*)?/g) ??
          [],
      )
    const codes = [...codesIn(page.prose), ...drawn]
    const isName = (code: string) =>
      /^[A-Za-z]\w*(?:\.[a-z]\w*)?$/.test(code) && /[a-z]/.test(code) && /[A-Z]/.test(code)
    const isConstant = (code: string) => /^[A-Z]+(?:_[A-Z]+)+$/.test(code) && !code.startsWith('FANFARE_')
    const names = codes.filter((code) => isName(code) || isConstant(code))
    expect(names.length, page.path).toBeGreaterThan(100)
    expect(
      names.filter((name) => !isDeclared(name)),
      page.path,
    ).toEqual([])
    for (const code of codes) {
      if (code.startsWith('FANFARE_')) settingNamed(code)
      if (/^[a-z-]+-\d$/.test(code)) expect(readdirSync(`${ROOT}src/redis/lua`)).toContain(`${code}.lua`)
    }
  })

  it.each(BOUNDS)('has the numbers of %s that the code has', (section) => {
    for (const { line, cells } of page.rows(section)) {
      const [, value, constant = ''] = cells
      const [name = '', path = ''] = codesIn(constant)
      const show = name.endsWith('_MS')
        ? shown.milliseconds
        : name.endsWith('BYTES')
          ? shown.bytes
          : shown.count
      expect(value, page.at(line)).toBe(show(constantOf(path, name)))
    }
  })
})

describe('the page about the architecture: a publication', () => {
  // Without joins, which the broker would carry too.
  const open = { allow_subscribe_for_client: true, allow_publish_for_subscriber: true }
  const namespaces = [{ name: '', history_size: 10, history_ttl: '1m', ...open }]
  const settings = { authTokens: ['alice=any'], namespaces }

  /** Publishes from a raw client to itself and an SDK client. Returns which of the methods were called, in their order. */
  async function publishOnce(drawn: readonly string[], redisUrl?: string): Promise<readonly string[]> {
    const node = await startNode({ settings: { ...settings, ...(redisUrl !== undefined && { redisUrl }) } })
    const sdk = await connectTo(node)
    const subscription = await sdk.subscribe('room')
    const publisher = await RawClient.connect(`ws://127.0.0.1:${node.port}/ws/room`, { token: 'any' })
    const called = await spyOnMethods(drawn, 'room')
    publisher.send('1')
    await subscription.publications.first(1)
    publisher.close()
    return called()
  }

  it('takes the drawn way through a node alone', async () => {
    const drawn = methodsIn(page.code('publication-in-memory')).filter(
      (name, index, all) => all.indexOf(name) === index,
    )
    expect(await publishOnce(drawn), page.where('publication-in-memory')).toEqual(drawn)
  })

  it('takes the drawn way through Redis', async () => {
    const redis = await RedisServer.start()
    afterThisTest(() => redis.remove())
    const drawn = methodsIn(page.code('publication'))
    // What a publisher with an SDK does instead.
    const others = ['ClientSession.message', 'CommandRunner.handleFrame']
    expect(await publishOnce(drawn, redis.url), page.where('publication')).toEqual(
      drawn.filter((name) => !others.includes(name)),
    )
  })
})

describe('the page about the architecture: the relay message', () => {
  const { message, entry } = layouts
  const infos = { user: 'u', connInfo: '{}', chanInfo: undefined }
  const info = { client: 'c-1', ...infos }
  const everything = publication('data', { isBinary: true, excludedClient: 'ann', info, tags: { a: 'b' } })

  it('has entries with all fields where they are', () => {
    const bytes = encodeEntry(everything)
    expect(entry.decode(bytes)).toEqual({
      length: bytes.length - 4,
      kind: 1,
      flags: 1 + 2 + 8,
      time: everything.publishedAtMs,
      'client length': 3,
      client: 'ann',
      'extras length': JSON.stringify({ info, tags: { a: 'b' } }).length,
      extras: JSON.stringify({ info, tags: { a: 'b' } }),
      payload: Buffer.from('data'),
    })
  })

  it('has entries without what is optional', () => {
    expect(entry.decode(encodeEntry(publication('data')))).toMatchObject({
      flags: 0,
      payload: Buffer.from('data'),
    })
  })

  it('has the number of every kind and flag', () => {
    const join = { type: 'join', info: clientInfo('c-1', 'u'), online: 1 } as const
    const events: Record<string, RelayEvent> = {
      publication: publication('data'),
      join,
      leave: { ...join, type: 'leave' },
      control: { type: 'control', payload: Buffer.from('{}') },
    }
    const kinds = Object.entries(events).map(([name, event]) => [
      name,
      entry.decode(encodeEntry(event))['kind'],
    ])
    expect(Object.fromEntries(entry.meanings('kind')), page.where('entry')).toEqual(Object.fromEntries(kinds))
    const flagged = {
      binary: publication('data', { isBinary: true }),
      client: publication('data', { excludedClient: 'ann' }),
      JSON: publication('1', { isJson: true }),
      extras: publication('data', { tags: { a: 'b' } }),
    }
    const flags = Object.entries(flagged).map(([name, event]) => [
      name,
      entry.decode(encodeEntry(event))['flags'],
    ])
    expect(Object.fromEntries(entry.meanings('flags')), page.where('entry')).toEqual(
      Object.fromEntries(flags),
    )
  })

  it('has all that a later version may add, of which nodes read the rest', () => {
    const rows = page.rows('later').map(({ cells: [addition = ''] }) => addition)
    const [kinds, flags] = ['kind', 'flags'].map((field) => [...entry.meanings(field).values()])
    const freeFlags = Array.from({ length: 8 }, (_, bit) => 2 ** bit).filter((flag) => !flags?.includes(flag))
    const [firstKind = 0, requiredKind = 0] = rows.map((row) => Number(row.match(/\d+/)?.[0]))
    expect(firstKind, page.where('later')).toBe(Math.max(...(kinds ?? [])) + 1)
    expect(rows[2]?.match(/\d+/g)?.map(Number), page.where('later')).toEqual(freeFlags)

    const later = (offset: 4 | 5, value: number) => {
      const bytes = encodeEntry(everything)
      bytes[offset] = (offset === 4 ? 0 : (bytes[offset] ?? 0)) | value
      return bytes
    }
    const flagged = freeFlags.map((flag) => later(5, flag))
    const decoded = decodeMessage(encodeMessage([later(4, firstKind), ...flagged]))
    const known = flagged.map(() => ({ ...everything, data: expect.anything() as unknown }))
    expect(decoded).toEqual([expect.objectContaining({ isUnknown: true }), ...known])
    const position = { epoch: 'e', offset: 1 }
    expect(decodeStreamEntry(later(4, requiredKind - 1), position).isUnknown, page.where('later')).toBe(true)
    expect(() => decodeStreamEntry(later(4, requiredKind), position), page.where('later')).toThrow()
  })

  it('has the header that nodes write', () => {
    const entries = [encodeEntry(everything), encodeEntry(publication('more'))]
    expect(message.decode(encodeMessage(entries))).toEqual({
      version: 1,
      'epoch length': 0,
      entries: Buffer.concat(entries),
    })
  })
})

describe('the page about the architecture: Redis', () => {
  const kept = { history_ttl: '10m', history_meta_ttl: '90m' }
  const rows = documentedKeys(page, 'keys', kept)
  const redisChannels = page.rows('redis-channels').map(({ cells: [name = ''] }) => codesIn(name)[0] ?? '')

  /** Checks every key of a Redis against the table. Returns them as the table has them. */
  async function checkKeys(redis: Redis): Promise<readonly string[]> {
    const found = (await redis.keys('*')).map(async (key) => {
      const row = rows.find((one) => isDocumentedAs(one.key, key))
      if (row === undefined) throw new Error(`${page.where('keys')}: ${key} is not documented`)
      const where = `${row.at}: ${key}`
      const [type, leftMs] = [await redis.type(key), await redis.pttl(key)]
      // It has been deleted or has expired meanwhile.
      if (leftMs === -2) return row.key
      expect(type, where).toBe(row.type)
      expect(leftMs, where).toBeLessThanOrEqual(row.lifetimeMs)
      // Shorter ones may be about to expire.
      if (row.lifetimeMs > 60_000) expect(leftMs, where).toBeGreaterThan(row.lifetimeMs / 2)
      return row.key
    })
    return Promise.all(found)
  }

  /** A cluster with a client on each of two nodes, in a channel that keeps everything. */
  async function startCluster() {
    const options = { ...kept, history_size: 10, presence: true, join_leave: true }
    const namespace = { name: '', ...options, allow_subscribe_for_client: true }
    const cluster = await Cluster.start({ FANFARE_NAMESPACES: JSON.stringify([namespace]) })
    afterThisTest(() => cluster.stop())
    const redis = new Redis(cluster.redis.url)
    afterThisTest(() => redis.disconnect())
    await cluster.open(0, '/ws/room')
    const witness = await cluster.open(1, '/ws/room?events=leave')
    await expect.poll(() => redis.hlen('fanfare:presence:clients:{:room}')).toBe(2)
    const call = async (method: string, body: object) =>
      expect((await callApi(cluster.nodes[1], method, body)).body, method).toHaveProperty('result')
    return { cluster, redis, witness, call }
  }

  it('has every key and Redis channel of the code, and no other', () => {
    const documented = [...rows.map(({ key }) => key), ...redisChannels].map((name) => `fanfare:${name}`)
    expect(documented.toSorted(), page.where('keys')).toEqual(keysInCode().toSorted())
  })

  it('has the keys, the Redis channels and the messages of a real cluster', async () => {
    const { redis, call } = await startCluster()
    const subscriber = redis.duplicate()
    afterThisTest(() => subscriber.disconnect())
    const messages: Buffer[] = []
    subscriber.on('messageBuffer', (_channel: Buffer, bytes: Buffer) => messages.push(bytes))
    await subscriber.subscribe('fanfare:channel:room')
    await call('publish', { channel: 'room', data: 'first' })
    await call('publish', { channel: 'room', data: 'once', idempotency_key: 'key' })
    const ofSweeps = ['sweep:<node>', 'swept:<node>']
    const found = new Set([...(await checkKeys(redis)), ...ofSweeps])
    expect([...found].sort(), page.where('keys')).toEqual(rows.map(({ key }) => key).sort())
    await call('history', { channel: 'unused', limit: 0 })
    const unusedMs = await redis.pttl('fanfare:stream-meta:{:unused}')
    expect(unusedMs, page.where('keys')).toBeLessThanOrEqual(UNUSED_EPOCH_TTL_MS)

    const subscribed = (await redis.pubsub('CHANNELS')) as string[]
    const undocumented = subscribed.filter((name) => !redisChannels.some((one) => isDocumentedAs(one, name)))
    expect(undocumented, page.where('redis-channels')).toEqual([])

    const inStream = () =>
      messages.map((bytes) => layouts.message.decode(bytes)).filter(({ epoch }) => epoch !== undefined)
    await expect.poll(() => inStream().length).toBe(2)
    const { epoch = '' } = await redis.hgetall('fanfare:stream-meta:{:room}')
    const stream = await redis.xrangeBuffer('fanfare:stream:{:room}', '-', '+')
    const expected = stream.map(([id, [, entry]]) => {
      const offset = Number.parseInt(String(id), 10)
      return { version: 1, 'epoch length': epoch.length, epoch, 'first offset': offset, entries: entry }
    })
    expect(inStream(), page.where('message')).toEqual(expected)
    expect(String(stream[0]?.[1][0]), page.where('keys')).toBe('e')
  })

  it('has the commands of a sweep after a real crash, in their order', async () => {
    const { cluster, redis, witness } = await startCluster()
    const monitor = await RedisMonitor.of(cluster.redis.url)
    await cluster.nodes[0].child.stop('SIGKILL')
    expect(await witness.nextText()).toContain('"leave"')
    let last = -1
    for (const { line, cells } of page.rows('sweep')) {
      const [name, key = ''] = cells.flatMap(codesIn)
      const isStep = (command: RedisCommand) =>
        command.name === name && command.args.some((arg) => isDocumentedAs(key, arg))
      last = await monitor.indexOf(isStep, last + 1, page.at(line))
      if (name !== 'SET') continue
      const lifetimeMs = rows.find((one) => one.key === key)?.lifetimeMs
      const { args } = monitor.commands[last] ?? {}
      expect(args, page.at(line)).toEqual(expect.arrayContaining(['PX', String(lifetimeMs)]))
    }
    expect(await checkKeys(redis), page.where('keys')).toContain('swept:<node>')
  })
})
