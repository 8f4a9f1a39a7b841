import { existsSync, readdirSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { parseRedisAddresses } from '../../src/config/redis-address.js'
import { shipped } from '../support/deployment.js'
import { codesIn, Page } from '../support/page.js'
import { redisServices } from '../support/redis-deployment.js'
import { ROOT } from '../support/repository.js'

const page = new Page('docs/redis.md')

/** The directives of a configuration, without the files that it includes. */
function directivesOf(file: string): string[] {
  return shipped(`deploy/redis/${file}`)
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#') && !line.startsWith('include '))
}

describe('the page about Redis', () => {
  it('has an address of every kind that nodes understand, with the least version of it', () => {
    const rows = page.rows('topologies')
    const kinds = rows.map(({ cells: [, address = ''] }) => {
      const addresses = parseRedisAddresses(codesIn(address)[0] ?? '')
      return addresses.length > 1 ? 'several' : addresses[0].target.type
    })
    expect(kinds, page.where('topologies')).toEqual(['host', 'socket', 'sentinel', 'several', 'cluster'])
    for (const [index, { line, cells }] of rows.entries()) {
      const name = kinds[index] === 'cluster' ? 'LEAST_CLUSTER_VERSION' : 'LEAST_VERSION'
      expect(cells[2], page.at(line)).toBe(versionOf(name))
    }
  })

  it('has every example, and how one is started', () => {
    const named = page.rows('topologies').flatMap(({ cells }) => codesIn(cells[4] ?? ''))
    const files = readdirSync(`${ROOT}deploy/redis`).filter((name) => name.endsWith('.yml'))
    const shown = named.filter((name) => files.includes(name))
    expect(shown, page.where('topologies')).toEqual(['compose.sentinel.yml', 'compose.cluster.yml'])
    for (const name of named.filter((one) => !shown.includes(one)))
      expect(existsSync(`${ROOT}${name}`)).toBe(true)
    const [, file = ''] = / -f deploy\/redis\/(\S+) /.exec(page.code('example')) ?? []
    expect(Object.keys(redisServices(file)), page.where('example')).toContain('node1')
    expect(shipped(`deploy/redis/${file}`), page.where('example')).toContain(
      `#   ${page.code('example').trim()}\n`,
    )
  })

  it('has all settings of the configurations, and no other', () => {
    const files = ['common.conf', 'replicated.conf', 'cluster.conf']
    const expected = files.flatMap((file) =>
      directivesOf(file).map((directive) => [`\`${directive}\``, `\`${file}\``]),
    )
    const documented = page.rows('settings').map(({ cells }) => cells.slice(0, 2))
    expect(documented, page.where('settings')).toEqual(expected)
  })

  it('has the users of the access control list, those of a Redis Cluster, and those of the page about clusters', () => {
    const users = shipped('deploy/redis/users.acl')
    expect(page.code('users'), page.where('users')).toBe(users)
    const [more = ''] = /`(\+cluster\|\S+)`/.exec(page.text)?.slice(1) ?? []
    expect(shipped('deploy/redis/users-cluster.acl')).toBe(`${users.trimEnd()} ${more}\n`)
    const clustering = new Page('docs/clustering.md')
    const rules = users.trim().split('\n').at(-1)?.replace('user ', 'ACL SETUSER ')
    expect(clustering.code('acl').trim(), clustering.where('acl')).toBe(rules)
  })

  it('names servers with the versions that were tested', () => {
    const rows = page.rows('servers').map(({ cells: [server, version] }) => `${server} ${version}`)
    expect(rows.slice(0, -1), page.where('servers')).toEqual(
      rows.slice(0, -1).filter((row) => /\d+\.\d+\.\d+$/.test(row)),
    )
  })
})

/** A version of Redis in the code, as it is written: `6.2`. */
function versionOf(name: string): string {
  const source = shipped('src/redis/redis-identity.ts')
  const [, major, minor] = new RegExp(`^const ${name} = \\[(\\d+), (\\d+)\\]`, 'm').exec(source) ?? []
  if (minor === undefined) throw new Error(`there is no version ${name}`)
  return `${major}.${minor}`
}
