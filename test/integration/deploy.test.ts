import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parse as parseYaml } from 'yaml'
import { RedisServer } from '../../deploy/local/redis-server.js'
import { loadConfig } from '../../src/config/load.js'
import { environmentName, SETTINGS } from '../../src/config/settings.js'
import {
  composeService,
  composeServices,
  dockerfileInstructions,
  redisArguments,
  scrapeTargets,
  shipped,
} from '../support/deployment.js'
import { HAPROXY_CONFIGURATION } from '../support/haproxy-process.js'
import { Page } from '../support/page.js'
import { ROOT } from '../support/repository.js'

const NODES = ['node1', 'node2', 'node3']
const SECRETS = {
  [environmentName('authTokens')]: 'alice=secret-a',
  [environmentName('authHmacSecret')]: 'secret-b',
  [environmentName('apiKey')]: 'secret-c',
}

function run(command: string, args: string[], env: NodeJS.ProcessEnv = process.env) {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd: ROOT, env, encoding: 'utf8' })
  return { status, output: `${stdout}${stderr}` }
}

/** Parses a duration of HAProxy and Compose, such as `2m` and `40s`. */
function milliseconds(written: string | undefined): number {
  const [, number, unit] = /^(\d+)(ms|s|m|h)$/.exec(written ?? '') ?? []
  return Number(number) * ({ ms: 1, s: 1_000, m: 60_000, h: 3_600_000 }[unit ?? ''] ?? Number.NaN)
}

describe('the HAProxy configuration', () => {
  it('passes haproxy -c, even when the names of its nodes cannot be resolved', () => {
    expect(run('haproxy', ['-c', '-f', HAPROXY_CONFIGURATION])).toMatchObject({ status: 0 })
  })

  it('balances the nodes of docker-compose.yml and checks the internal port of each', () => {
    const servers = shipped('deploy/proxy/haproxy.cfg').match(/^ {2}server .*$/gm)
    const [port, internalPort] = [SETTINGS.port.default, SETTINGS.internalPort.default]
    expect(servers).toEqual(NODES.map((name) => `  server ${name} ${name}:${port} port ${internalPort}`))
  })

  it('cuts an idle WebSocket only long after its node has pinged it', () => {
    const tunnel = /^ {2}timeout tunnel (\S+)$/m.exec(shipped('deploy/proxy/haproxy.cfg'))?.[1]
    expect(milliseconds(tunnel)).toBeGreaterThan(2 * SETTINGS.rawTimeout.default)
    expect(milliseconds(tunnel)).toBeGreaterThan(2 * SETTINGS.pingInterval.default)
  })
})

describe('the Prometheus configuration', () => {
  it('passes promtool check config', () => {
    const args = ['check', 'config', 'deploy/prometheus/prometheus.yml']
    expect(run('promtool', args)).toMatchObject({ status: 0 })
  })

  it('scrapes the internal port of each node of docker-compose.yml', () => {
    expect(scrapeTargets()).toEqual({
      fanfare: NODES.map((name) => `${name}:${SETTINGS.internalPort.default}`),
    })
  })
})

describe('docker-compose.yml', () => {
  it('runs Redis, three nodes, HAProxy and Prometheus, each with a health check', () => {
    expect(Object.keys(composeServices())).toEqual(['redis', ...NODES, 'haproxy', 'prometheus'])
    for (const { healthcheck } of Object.values(composeServices())) {
      expect(healthcheck.test[0]).toBe('CMD')
    }
  })

  it('gives the three nodes one image and one environment, with Redis and no secret of its own', () => {
    const [first, second, third] = NODES.map(composeService)
    expect(second).toEqual(first)
    expect(third).toEqual(first)
    expect(first?.environment).toMatchObject({
      [environmentName('host')]: '0.0.0.0',
      [environmentName('internalHost')]: '0.0.0.0',
      [environmentName('redisUrl')]: 'redis://redis:6379',
    })
    for (const name of Object.keys(SECRETS)) {
      expect(first?.environment?.[name]).toMatch(new RegExp(`^\\$\\{${name}:\\?.+\\}$`))
    }
  })

  it('waits longer than the drain window before it kills a node', () => {
    for (const name of NODES) {
      const grace = milliseconds(composeService(name).stop_grace_period)
      expect(grace).toBeGreaterThan(SETTINGS.drainWindow.default + 10_000)
    }
  })

  it('publishes the ports of HAProxy, and no others to other machines', () => {
    const bound = [...shipped('deploy/proxy/haproxy.cfg').matchAll(/^ {2}bind \*:(\d+)$/gm)].map(
      ([, port]) => port,
    )
    expect(bound).toEqual(['8000', '8404'])
    const published = Object.entries(composeServices()).flatMap(([name, { ports = [] }]) =>
      ports.map((port) => `${name} ${port}`),
    )
    expect(published).toEqual([
      'haproxy 8000:8000',
      'haproxy 127.0.0.1:8404:8404',
      'prometheus 127.0.0.1:9090:9090',
    ])
  })

  it('builds from and mounts files that exist', () => {
    const { build } = composeService('node1')
    expect(existsSync(join(ROOT, build?.context ?? '', build?.dockerfile ?? ''))).toBe(true)
    const mounted = Object.values(composeServices())
      .flatMap(({ volumes = [] }) => volumes)
      .map((volume) => volume.split(':'))
      .filter(([source]) => source?.startsWith('.'))
    expect(mounted).toEqual([
      ['./deploy/proxy', '/usr/local/etc/haproxy', 'ro'],
      ['./deploy/prometheus', '/etc/prometheus', 'ro'],
    ])
    for (const [source = ''] of mounted) expect(existsSync(join(ROOT, source))).toBe(true)
  })

  it('starts Redis with valid arguments', async () => {
    const redis = await RedisServer.start(redisArguments())
    await redis.remove()
  })

  it('is accepted by docker compose with the secrets, and not without them', ({ skip }) => {
    const version = run('docker', ['compose', 'version'])
    skip(version.status !== 0, 'docker compose is not installed here')
    const config = (env: NodeJS.ProcessEnv) =>
      run('docker', ['compose', '--env-file', '/dev/null', 'config', '--quiet'], {
        ...process.env,
        ...Object.fromEntries(Object.keys(SECRETS).map((name) => [name, undefined])),
        ...env,
      })
    expect(config(SECRETS)).toEqual({ status: 0, output: '' })
    for (const name of Object.keys(SECRETS)) {
      const { status, output } = config({ ...SECRETS, [name]: undefined })
      expect(status).not.toBe(0)
      expect(output).toContain(`required variable ${name} is missing a value`)
    }
  })
})

describe('the Dockerfile', () => {
  it('copies only files that exist and that .dockerignore includes', () => {
    const copied = dockerfileInstructions()
      .filter(({ name, value }) => name === 'COPY' && !value.startsWith('--from'))
      .flatMap(({ value }) => value.split(' ').slice(0, -1))
    expect(copied.length).toBeGreaterThan(0)
    const allowed = shipped('.dockerignore')
      .match(/^!.+$/gm)
      ?.map((line) => line.slice(1))
    for (const path of copied) {
      expect(existsSync(join(ROOT, path)), path).toBe(true)
      expect(allowed).toContain(path)
    }
  })
})

describe('the handbook of operators', () => {
  const yaml = (name: string): unknown => parseYaml(new Page('deploy/README.md').code(name))

  it('has a file of settings that the configuration accepts', () => {
    const { config, problems } = loadConfig({ options: yaml('settings-file') as Record<string, unknown> })
    expect(problems).toEqual([])
    expect(config.namespaces?.map(({ name }) => name)).toEqual(['chat', 'prices'])
  })

  it('points every node to that file', () => {
    const { services } = yaml('override-file') as { services: Record<string, { command: string[] }> }
    expect(Object.keys(services)).toEqual(NODES)
    for (const { command } of Object.values(services))
      expect(command.slice(0, 2)).toEqual(['serve', '--config'])
  })
})
