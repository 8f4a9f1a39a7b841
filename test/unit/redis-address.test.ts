import { describe, expect, it } from 'vitest'
import { parseRedisAddress, parseRedisAddresses } from '../../src/config/redis-address.js'

const PLAIN = { username: undefined, password: undefined, isTls: false, database: 0 }

describe('an address of Redis', () => {
  it.each([
    ['redis://localhost', { ...PLAIN, target: { type: 'host', host: 'localhost', port: 6379 } }],
    ['redis://[::1]:6380/2', { ...PLAIN, target: { type: 'host', host: '::1', port: 6380 }, database: 2 }],
    [
      'rediss://user:p%40ss@redis.example.com:6380',
      {
        target: { type: 'host', host: 'redis.example.com', port: 6380 },
        username: 'user',
        password: 'p@ss',
        isTls: true,
        database: 0,
      },
    ],
    [
      'unix:///run/redis/redis.sock?db=3&user=ann&password=p%40ss',
      {
        target: { type: 'socket', path: '/run/redis/redis.sock' },
        username: 'ann',
        password: 'p@ss',
        isTls: false,
        database: 3,
      },
    ],
    [
      'rediss+sentinel://app:pw@one:26380/1?addr=two&addr=[::1]:26381&sentinel_master_name=main&sentinel_user=s&sentinel_password=t',
      {
        target: {
          type: 'sentinel',
          sentinels: [
            { host: 'one', port: 26380 },
            { host: 'two', port: 26379 },
            { host: '::1', port: 26381 },
          ],
          masterName: 'main',
          username: 's',
          password: 't',
        },
        username: 'app',
        password: 'pw',
        isTls: true,
        database: 1,
      },
    ],
    [
      'rediss+cluster://app:pw@one:7001?addr=two&addr=[::1]:7003',
      {
        target: {
          type: 'cluster',
          servers: [
            { host: 'one', port: 7001 },
            { host: 'two', port: 6379 },
            { host: '::1', port: 7003 },
          ],
        },
        username: 'app',
        password: 'pw',
        isTls: true,
        database: 0,
      },
    ],
  ])('%s is understood', (text, address) => expect(parseRedisAddress(text)).toEqual(address))

  it.each([
    ['localhost:6379', /begins with localhost:/],
    ['http://localhost', /begins with http:\/\//],
    ['', /is no address/],
    ['redis://', /has no host/],
    ['redis://localhost/abc', /database "abc", which is no number/],
    ['redis://:p%zz@localhost', /a % itself is written %25/],
    ['redis://localhost?family=6', /parameter family that is not known; it takes none/],
    ['redis://one,two', /begins with|is no address/],
    ['redis://one,redis://one', /names the same Redis twice/],
    ['redis://one,', /is no address/],
    ['redis://one,redis+cluster://two', /names a Redis Cluster beside others/],
    ['redis+cluster://one:7001/1', /names a database, of which a Redis Cluster has only one/],
    ['redis+cluster://one:7001?addr=two:x', /addr=two:x, which is no host:port/],
    ['redis+cluster://one:7001?db=1', /parameter db that is not known; known are addr/],
    ['redis+sentinel://one', /needs the name of the master: add \?sentinel_master_name=/],
    ['redis+sentinel://one?sentinel_master_name=m&addr=two:x', /addr=two:x, which is no host:port/],
    [
      'redis+sentinel://one?sentinel_master_name=m&master=m',
      /parameter master that is not known; known are addr/,
    ],
    ['unix://redis.sock', /whole path of a socket/],
    ['unix:///redis.sock?db=x', /database "x", which is no number/],
  ])('%j is refused, with what is wrong', (text, message) => {
    expect(() => parseRedisAddresses(text)).toThrow(message)
  })

  it('may be several, in their order, with blanks around the commas', () => {
    const addresses = parseRedisAddresses('redis://one/1, rediss://two:6380')
    expect(addresses.map(({ target }) => target)).toEqual([
      { type: 'host', host: 'one', port: 6379 },
      { type: 'host', host: 'two', port: 6380 },
    ])
    expect(addresses.map(({ database, isTls }) => [database, isTls])).toEqual([
      [1, false],
      [0, true],
    ])
  })
})
