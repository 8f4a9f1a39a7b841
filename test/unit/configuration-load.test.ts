import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { type ConfigInputs, loadConfig } from '../../src/config/load.js'

const directory = mkdtempSync(join(tmpdir(), 'fanfare-configuration-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

let files = 0
function fileWith(content: string, extension = 'yaml'): string {
  const path = join(directory, `${++files}.${extension}`)
  writeFileSync(path, content)
  return path
}

function problemsOf(inputs: ConfigInputs): string[] {
  return loadConfig(inputs).problems.map(({ where, what }) => `${where}: ${what}`)
}

describe('a setting', () => {
  const file = fileWith('port: 1001\nhost: 127.0.0.2\nlogLevel: warn\n')

  it('comes from its flag, else from the environment, else from the file, else from its default', () => {
    const { config, sources, problems } = loadConfig({
      flags: { port: '1003' },
      environment: { FANFARE_PORT: '1002', FANFARE_HOST: '127.0.0.3' },
      file,
    })
    expect(problems).toEqual([])
    expect([config.port, sources.port]).toEqual([1003, 'flag'])
    expect([config.host, sources.host]).toEqual(['127.0.0.3', 'environment'])
    expect([config.logLevel, sources.logLevel]).toEqual(['warn', 'file'])
    expect([config.internalPort, sources.internalPort]).toEqual([9000, 'default'])
  })

  it('that is empty in the environment counts as not given', () => {
    const { config, sources, problems } = loadConfig({
      environment: { FANFARE_PORT: '', FANFARE_REDIS_URL: '' },
      file,
    })
    expect(problems).toEqual([])
    expect([config.port, sources.port]).toEqual([1001, 'file'])
    expect([config.redisUrl, sources.redisUrl]).toEqual([undefined, 'default'])
  })

  it('that is empty as a flag is a problem', () => {
    expect(problemsOf({ flags: { port: '' } })).toEqual([
      '--port: "" is not right; use a port from 0 to 65535',
    ])
  })

  it('whose flag is undefined has its default', () => {
    expect(loadConfig({ flags: { port: undefined } }).sources.port).toBe('default')
  })

  it('that is invalid in one source does not fall back to another source', () => {
    expect(problemsOf({ flags: { port: 'x' }, file })).toEqual([
      '--port: "x" is not right; use a port from 0 to 65535',
    ])
  })
})

describe('a configuration file', () => {
  it.each([
    ['YAML', 'yaml', 'port: 1001\nauthTokens:\n  - ann=one\n  - two\nrawTimeout: 45s\n'],
    ['JSON', 'json', '{"port": 1001, "authTokens": ["ann=one", "two"], "rawTimeout": "45s"}'],
  ])('may be %s', (_, extension, content) => {
    const { config, problems } = loadConfig({ file: fileWith(content, extension) })
    expect(problems).toEqual([])
    expect(config.port).toBe(1001)
    expect(config.rawTimeout).toBe(45_000)
    expect(config.authTokens).toEqual([
      { user: 'ann', token: 'one' },
      { user: '', token: 'two' },
    ])
  })

  it.each(['', '# nothing but a remark\n', '---\n'])('may be empty: %j', (content) => {
    expect(problemsOf({ file: fileWith(content) })).toEqual([])
  })

  it.each(['just a line', '[1, 2]', '17', 'true'])('with the content %j is a problem', (content) => {
    const file = fileWith(content)
    expect(problemsOf({ file })).toEqual([`${file}: must hold settings, such as "port: 8000"`])
  })

  it.each([
    ['broken JSON', '{"port": 1'],
    ['broken YAML', 'port: [1\nhost: x'],
    ['a key twice', 'port: 1\nport: 2\n'],
    ['two documents', 'port: 1\n---\nport: 2\n'],
  ])('with %s is reported in one line with its path', (_, content) => {
    const file = fileWith(content)
    const problems = problemsOf({ file })
    expect(problems).toHaveLength(1)
    expect(problems[0]).toMatch(/^\S+\.yaml: [^\n]+$/)
    expect(problems[0]).toContain(file)
  })

  it('that does not exist is reported in one line with its path', () => {
    const file = join(directory, 'missing.yaml')
    expect(problemsOf({ file })).toEqual([expect.stringMatching(/missing\.yaml: ENOENT[^\n]*$/)])
  })

  it('cannot set fields of the object prototype', () => {
    const file = fileWith('{"__proto__": {"port": 1}, "constructor": 1, "toString": 1}', 'json')
    const { config, problems } = loadConfig({ file })
    expect(problems.map(({ where }) => where)).toEqual([
      `__proto__ (${file})`,
      `constructor (${file})`,
      `toString (${file})`,
    ])
    expect(config.port).toBe(8000)
    expect(Object.getOwnPropertyNames({})).toEqual([])
  })
})

describe('an unknown key', () => {
  it('in the file is a problem that names the nearest known one', () => {
    const file = fileWith('prot: 1\n')
    expect(problemsOf({ file })).toEqual([`prot (${file}): is not a setting; did you mean port?`])
  })

  it('in the environment is a problem that names the nearest known one', () => {
    expect(problemsOf({ environment: { FANFARE_RAW_TIMOUT: '5s' } })).toEqual([
      'FANFARE_RAW_TIMOUT (environment): is not a setting; did you mean FANFARE_RAW_TIMEOUT?',
    ])
  })

  it('without the prefix FANFARE_ in the environment is ignored', () => {
    expect(problemsOf({ environment: { PATH: '/bin', FANFAREN_PORT: 'x', fanfare_port: 'x' } })).toEqual([])
  })
})

it('every problem is reported at once, each with its source', () => {
  const file = fileWith('maxMessageBytes: 1TB\nhosst: x\n')
  expect(
    problemsOf({
      flags: { logLevel: 'loud' },
      environment: { FANFARE_INTERNAL_PORT: '8000', FANFARE_RAW_TIMEOUT: 'soon', FANFARE_HOSTS: 'x' },
      file,
    }),
  ).toEqual([
    `hosst (${file}): is not a setting; did you mean host?`,
    'FANFARE_HOSTS (environment): is not a setting; did you mean FANFARE_HOST?',
    'FANFARE_RAW_TIMEOUT (environment): "soon" is not right; use a duration such as 500ms, 30s or 5m, from 100ms to 24d',
    `maxMessageBytes (${file}): "1TB" is not right; use a size such as 64KiB or 1MiB, from 1B to 64MiB`,
    '--log-level: "loud" is not right; use one of debug, info, warn, error, silent',
    'FANFARE_INTERNAL_PORT (environment): must differ from FANFARE_PORT: both are 8000',
  ])
})

it('an invalid secret does not appear in its problem', () => {
  const environment = {
    FANFARE_API_KEY: 'hunter 2',
    FANFARE_AUTH_TOKENS: 'ann=hunter 2',
    FANFARE_REDIS_URL: 'reddis://:hunter2@example.com',
  }
  const problems = problemsOf({ environment })
  expect(problems).toHaveLength(3)
  expect(problems.join('\n')).not.toContain('hunter')
})

describe('the variables that Kubernetes injects for a Service called fanfare', () => {
  const links = {
    FANFARE_PORT: 'tcp://10.0.0.1:8000',
    FANFARE_SERVICE_HOST: '10.0.0.1',
    FANFARE_SERVICE_PORT: '8000',
    FANFARE_SERVICE_PORT_HTTP: '8000',
    FANFARE_PORT_8000_TCP: 'tcp://10.0.0.1:8000',
    FANFARE_PORT_8000_TCP_PROTO: 'tcp',
    FANFARE_PORT_8000_TCP_PORT: '8000',
    FANFARE_PORT_8000_TCP_ADDR: '10.0.0.1',
    FANFARE_INTERNAL_PORT: 'tcp://10.0.0.2:9000',
    FANFARE_INTERNAL_SERVICE_HOST: '10.0.0.2',
    FANFARE_REDIS_PORT_6379_UDP: 'udp://10.0.0.3:6379',
  }

  it('are ignored with one warning that names all of them', () => {
    const { config, sources, problems, warnings } = loadConfig({ environment: links })
    expect(problems).toEqual([])
    expect([config.port, sources.port]).toEqual([8000, 'default'])
    expect([config.internalPort, sources.internalPort]).toEqual([9000, 'default'])
    expect(warnings).toHaveLength(1)
    for (const name of Object.keys(links)) expect(warnings[0]).toContain(name)
    expect(warnings[0]).toContain('enableServiceLinks: false')
  })

  it('do not override the file', () => {
    const { config } = loadConfig({ environment: links, file: fileWith('port: 1001\n') })
    expect(config.port).toBe(1001)
  })

  it('are not confused with a port', () => {
    const { config, warnings } = loadConfig({ environment: { FANFARE_PORT: '8001' } })
    expect(config.port).toBe(8001)
    expect(warnings).toEqual([])
  })
})
