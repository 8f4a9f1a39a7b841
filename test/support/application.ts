import { createNode, errors } from 'fanfare'

const users = new Map([
  ['token-of-alice', { id: '17', name: 'Alice', rooms: ['chat:lobby', 'chat:staff'] }],
  ['token-of-bob', { id: '42', name: 'Bob', rooms: ['chat:lobby'] }],
])
const roomsOf = (id: string) => [...users.values()].find((user) => user.id === id)?.rooms ?? []
const inOneHour = () => Math.floor(Date.now() / 1_000) + 3_600

const chat = { name: 'chat', presence: true, history_size: 100, history_ttl: '5m', force_recovery: true }
const node = await createNode({
  settings: {
    port: process.env['PORT'] ?? 8000,
    internalPort: process.env['INTERNAL_PORT'] ?? 9000,
    namespaces: [{ ...chat, allow_publish_for_subscriber: true, allow_presence_for_subscriber: true }],
  },
  hooks: {
    connect: async ({ token }) => {
      const user = users.get(token)
      if (user === undefined) throw errors.permissionDenied('log in first')
      return { user: user.id, info: { name: user.name }, data: { rooms: user.rooms }, expireAt: inOneHour() }
    },
    refresh: ({ token }) => (users.has(token) ? { expireAt: inOneHour() } : undefined),
    subscribe: ({ user, channel }) => {
      if (!roomsOf(user).includes(channel)) throw errors.permissionDenied(`${channel} is not your room`)
      return { data: { topic: `all about ${channel}` } }
    },
    publish: ({ data }) => {
      const { text } = Object(data) as { text?: unknown }
      if (typeof text !== 'string') throw errors.badRequest('a message has a text')
      return { data: { text: text.replaceAll('darn', '****') } }
    },
    rpc: async ({ method, data }) => {
      if (method !== 'names') throw errors.methodNotFound(method)
      return [...(await node.presence(String(data))).values()].map(({ connInfo }) => connInfo)
    },
    message: async ({ user }) => {
      await node.publish('chat:lobby', { typing: user }, { skipHistory: true })
    },
    disconnect: ({ user, code }) => console.log(`${user} has left (${code})`),
  },
})
console.log(`chat on port ${node.port}`)
await node.publish('chat:lobby', { text: 'The chat is open.' })
process.once('SIGTERM', () => void node.stop().then((isClean) => process.exit(isClean ? 0 : 1)))
