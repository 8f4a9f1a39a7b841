import { beforeEach, describe, expect, it } from 'vitest'
import type { Connection } from '../../src/connection/connection.js'
import { ConnectionControl } from '../../src/connection/connection-control.js'
import { Connections } from '../../src/connection/connections.js'
import { UNSUBSCRIBES } from '../../src/protocol/closes.js'
import { errors } from '../../src/protocol/errors.js'

let connections: Connections
let control: ConnectionControl
let done: string[]

beforeEach(() => {
  connections = new Connections()
  control = new ConnectionControl(connections)
  done = []
})

/** A connection that writes down what it is told. */
function connect(client: string, user: string, session?: string, refusal?: Error): void {
  const member: Connection = {
    client,
    user,
    session,
    codec: 'raw',
    socket: undefined,
    isSubscribed: (channel) => channel === 'room',
    subscribe: (channel, options) => {
      done.push(`${client} subscribes to ${channel} ${JSON.stringify(options)}`)
      return refusal === undefined ? Promise.resolve() : Promise.reject(refusal)
    },
    unsubscribe: (channel, why) => {
      if (channel !== 'room') return false
      done.push(`${client} leaves ${channel}: ${why.code}`)
      return true
    },
    pushMessage: () => false,
    refresh: (expiresAtMs) => done.push(`${client} expires at ${expiresAtMs}`),
    close: ({ code, reason }) => {
      done.push(`${client} closes: ${code} ${reason}`)
      connections.remove(member)
    },
    shutDown: () => undefined,
    notifyGap: () => undefined,
  }
  connections.add(member)
}

describe('control of a node’s connections', () => {
  beforeEach(() => {
    connect('a1', 'ann')
    connect('a2', 'ann', 'session-2')
    connect('b1', 'bob', 'session-3')
    connect('x1', '', 'session-4')
  })

  it.each([
    [{ user: 'ann' }, ['a1', 'a2']],
    [{ user: 'ann', client: 'a2' }, ['a2']],
    [{ user: 'ann', session: 'session-2' }, ['a2']],
    [{ user: 'ann', client: 'a1', session: 'session-2' }, []],
    [{ user: 'bob', client: 'a1' }, []],
    [{ user: '', client: 'b1' }, ['b1']],
    [{ user: '', session: 'session-4' }, ['x1']],
    [{ user: 'nobody' }, []],
  ])('finds those that %j means', (to, clients) => {
    expect(control.refresh(to, 5)).toEqual({ touched: clients.length })
    expect(done).toEqual(clients.map((client) => `${client} expires at 5`))
  })

  it('closes all but those that are listed', () => {
    const close = { code: 4000, reason: 'bye' }
    expect(control.disconnect({ user: 'ann' }, close, ['a1', 'b1'])).toEqual({ touched: 1 })
    expect(control.disconnect({ user: 'ann' }, close, [])).toEqual({ touched: 1 })
    expect(done).toEqual(['a2 closes: 4000 bye', 'a1 closes: 4000 bye'])
  })

  it('unsubscribes only those that are in the channel', () => {
    expect(control.unsubscribe({ user: 'ann' }, 'elsewhere')).toEqual({ touched: 0 })
    expect(control.unsubscribe({ user: 'bob' }, 'room')).toEqual({ touched: 1 })
    expect(done).toEqual([`b1 leaves room: ${UNSUBSCRIBES.server.code}`])
  })

  it('subscribes those that do not refuse, and says why the first that did refused', async () => {
    connect('a3', 'ann', undefined, errors.notAvailable('a raw connection'))
    connect('a4', 'ann', undefined, errors.alreadySubscribed('room'))
    expect(await control.subscribe({ user: 'ann' }, 'news', { info: '{}' })).toEqual({
      touched: 2,
      refusal: { code: 108, message: 'not available: a raw connection' },
    })
    expect(done).toContain('a1 subscribes to news {"info":"{}"}')
    expect(done).toHaveLength(4)
  })

  it('tells nobody outside what went wrong inside', async () => {
    connect('c1', 'cay', undefined, new TypeError('undefined is not a function'))
    const { refusal } = await control.subscribe({ user: 'cay' }, 'news', {})
    expect(refusal).toEqual({ code: 100, message: 'internal server error: the subscription failed' })
  })
})
