import { beforeEach, describe, expect, it } from 'vitest'
import type { Connection } from '../../src/connection/connection.js'
import { ConnectionControl } from '../../src/connection/connection-control.js'
import { Connections } from '../../src/connection/connections.js'
import { controlResult } from '../../src/node/survey-answers.js'
import { BrokerError } from '../../src/protocol/broker-error.js'
import { CloseConnection, DISCONNECTS, UNSUBSCRIBES } from '../../src/protocol/closes.js'
import { errors } from '../../src/protocol/errors.js'

let connections: Connections
let control: ConnectionControl
let calls: string[]
let logged: object[]

beforeEach(() => {
  connections = new Connections()
  calls = []
  logged = []
  const ignore = () => undefined
  const error = (facts: object) => logged.push(facts)
  control = new ConnectionControl(connections, { debug: ignore, info: ignore, warn: ignore, error })
})

/** Adds a connection that records the calls of its methods. */
function connect(client: string, user: string, sessionId?: string, refusal?: Error): void {
  const connection: Connection = {
    client,
    user,
    sessionId,
    codec: 'raw',
    socket: undefined,
    isSubscribed: (channel) => channel === 'room',
    subscribe: (channel, options) => {
      calls.push(`${client} subscribes to ${channel} ${JSON.stringify(options)}`)
      return refusal === undefined ? Promise.resolve() : Promise.reject(refusal)
    },
    unsubscribe: (channel, why) => {
      if (channel !== 'room') return false
      calls.push(`${client} leaves ${channel}: ${why.code}`)
      return true
    },
    pushMessage: () => false,
    refresh: (expiresAtMs) => calls.push(`${client} expires at ${expiresAtMs}`),
    close: ({ code, reason }) => {
      calls.push(`${client} closes: ${code} ${reason}`)
      connections.remove(connection)
    },
    shutDown: () => undefined,
    notifyGap: () => undefined,
  }
  connections.add(connection)
}

describe('the control of a node’s connections', () => {
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
    [{ user: 'eve' }, []],
  ])('applies to the connections that %j selects', (selector, clients) => {
    expect(control.refresh(selector, 5)).toEqual({ touched: clients.length })
    expect(calls).toEqual(clients.map((client) => `${client} expires at 5`))
  })

  it('closes all selected connections but the excepted ones', () => {
    const close = { code: 4000, reason: 'bye' }
    expect(control.disconnect({ user: 'ann' }, close, ['a1', 'b1'])).toEqual({ touched: 1 })
    expect(control.disconnect({ user: 'ann' }, close, [])).toEqual({ touched: 1 })
    expect(calls).toEqual(['a2 closes: 4000 bye', 'a1 closes: 4000 bye'])
  })

  it('unsubscribes only connections with a subscription to the channel', () => {
    expect(control.unsubscribe({ user: 'ann' }, 'elsewhere')).toEqual({ touched: 0 })
    expect(control.unsubscribe({ user: 'bob' }, 'room')).toEqual({ touched: 1 })
    expect(calls).toEqual([`b1 leaves room: ${UNSUBSCRIBES.server.code}`])
  })

  it('subscribes the connections that do not refuse, and returns the error of the first that does', async () => {
    connect('a3', 'ann', undefined, errors.notAvailable('a raw connection'))
    connect('a4', 'ann', undefined, errors.alreadySubscribed('room'))
    expect(await control.subscribe({ user: 'ann' }, 'news', { info: '{}' })).toEqual({
      touched: 2,
      refusal: { code: 108, message: 'not available: a raw connection', temporary: false },
    })
    expect(calls).toContain('a1 subscribes to news {"info":"{}"}')
    expect(calls).toHaveLength(4)
  })

  it('says whether the same request may succeed later, and why, where the relay refused', async () => {
    connect('c1', 'cay', undefined, new BrokerError('unavailable', 'Redis cannot be reached'))
    const result = await control.subscribe({ user: 'cay' }, 'news', {})
    expect(result.refusal).toEqual({
      code: 100,
      message: 'internal server error: Redis cannot be reached',
      temporary: true,
    })
    expect(controlResult.parse(result)).toEqual(result)
    expect(logged).toEqual([])
  })

  it('counts a connection that closed meanwhile as none, and not as a refusal', async () => {
    connect('c1', 'cay', undefined, new CloseConnection(DISCONNECTS.connectionClosed))
    expect(await control.subscribe({ user: 'cay' }, 'news', {})).toEqual({ touched: 0 })
    expect(logged).toEqual([])
  })

  it('does not disclose defects, but logs every one of them', async () => {
    const defects = [new TypeError('undefined is not a function'), new RangeError('out of memory')]
    for (const [index, defect] of defects.entries()) connect(`c${index}`, 'cay', undefined, defect)
    const { refusal } = await control.subscribe({ user: 'cay' }, 'news', {})
    expect(refusal).toEqual({
      code: 100,
      message: 'internal server error: see the log of the node',
      temporary: true,
    })
    expect(logged).toEqual(defects.map((err) => ({ err })))
  })
})
