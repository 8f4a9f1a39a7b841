import { mkdtempSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { Child } from '../../deploy/local/child-process.js'
import { cleanEnvironment, FanfareProcess, MAIN, runFanfare } from '../../deploy/local/fanfare-process.js'
import { API_KEY, callApi } from '../support/api.js'
import { eventually } from '../support/metric.js'
import { RawClient } from '../support/raw-client.js'
import { SdkClient } from '../support/sdk-client.js'

async function outcome(child: Child) {
  const { code } = await child.exited
  return { code, output: child.output }
}

describe('fanfare serve', () => {
  it('prints commands that work when pasted, when nothing is configured', async () => {
    const node = runFanfare([], {
      FANFARE_PORT: '0',
      FANFARE_INTERNAL_PORT: '0',
      FANFARE_LOG_FORMAT: 'json',
    })
    const printed = async (pattern: RegExp) => (await node.line(pattern)).trim()
    const join = await printed(/npx wscat/)
    // The options of wscat without a terminal: what it sends, and for how many seconds it stays connected at most.
    const subscriber = new Child('sh', ['-c', `exec ${join} -w 100 -x 'hello from the first terminal'`])
    const api = await printed(/curl/)
    const [, address, key] = /curl (\S+)\/api\/publish -H 'X-API-Key: (\S+)'/.exec(api) ?? []
    await eventually(async () => {
      const headers = { 'X-API-Key': key ?? '' }
      const { body } = await callApi({ httpUrl: address ?? '' }, 'channels', {}, headers)
      return JSON.stringify(body.result).includes('"room"')
    }, 'the subscriber is in the channel')

    const publisher = new Child('sh', ['-c', `exec ${join} -w 100 -x 'hello from the other terminal'`])
    await subscriber.line(/hello from the other terminal/)
    const published = new Child('sh', ['-c', api])
    expect(await published.line(/"result"/)).toBe('{"result":{}}')
    await Promise.all([subscriber.line(/"text":"hello"/), publisher.line(/"text":"hello"/)])

    const monitor = new Child('sh', ['-c', `exec ${await printed(/node \S+ monitor/)}`])
    await monitor.line(/connected to/)
    expect(await monitor.stop('SIGINT')).toEqual({ code: 0, signal: null })
    expect(await node.stop()).toEqual({ code: 0, signal: null })
    await Promise.all([subscriber.exited, publisher.exited, published.exited])
  })

  it('is stopped by a signal to npm start', async () => {
    // Without npm's scripts, which would compile while other tests run the compiled code.
    const args = ['start', '--ignore-scripts', '--', '--port', '0', '--internal-port', '0']
    const npm = new Child('npm', args, { env: cleanEnvironment({ FANFARE_LOG_FORMAT: 'json' }) })
    await npm.line(/"msg":"ready"/)
    expect(await npm.stop('SIGTERM')).toEqual({ code: 0, signal: null })
    expect(npm.output).toContain('"msg":"stopped"')
  })

  it('is an executable file, also through an older link to it', () => {
    expect(statSync(MAIN).mode & 0o111).toBe(0o111)
  })

  it('warns of a secret that is too short', async () => {
    const node = await FanfareProcess.start({ FANFARE_AUTH_HMAC_SECRET: 'short' })
    await node.child.stop()
    expect(node.child.output).toContain('FANFARE_AUTH_HMAC_SECRET has 5 bytes')
  })

  it('reports all problems of the configuration together with their sources, and ends with 2', async () => {
    const { code, output } = await outcome(
      runFanfare(
        ['serve', '--drain-widow', '3s', '--raw-timeout', 'soon', 'now', '--prot=1', '--api-kye', '-secret'],
        {
          FANFARE_PORT: 'http',
          FANFARE_PROT: '1',
          FANFARE_REDIS_URL: 'redis://127.0.0.1',
        },
      ),
    )
    expect(code).toBe(2)
    expect(output).toContain('FANFARE_PORT (environment): "http" is not right; use a port from 0 to 65535')
    expect(output).toContain('FANFARE_PROT (environment): is not a setting; did you mean FANFARE_PORT?')
    expect(output).toContain('--raw-timeout: "soon" is not right')
    expect(output).toContain('--drain-widow: is not a setting; did you mean --drain-window?')
    expect(output).toContain('--prot: is not a setting; did you mean --port?')
    expect(output).toContain('the command line: has a word that belongs to no flag')
    expect(output).toContain('--api-kye: is not a setting; did you mean --api-key?')
    expect(output).not.toMatch(/3s|secret\b.*is not/)
    expect(output).not.toContain('-secret:')
    expect(output).toContain('FANFARE_AUTH_TOKENS')
    expect(output).not.toMatch(/^\s+at /m)
  })

  it('prints one line when its port is taken', async () => {
    const other = createServer()
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
    const { port } = other.address() as { port: number }
    const { code, output } = await outcome(runFanfare(['--port', String(port), '--internal-port', '0']))
    other.close()
    expect(code).toBe(1)
    expect(output).toBe(`fanfare: cannot listen on 127.0.0.1:${port}: the port is taken by another process`)
  })

  it('prints one line for each certificate that cannot be read', async () => {
    const settings = { FANFARE_TLS_CERT: '/no/cert.pem', FANFARE_TLS_KEY: '/no/key.pem' }
    const { code, output } = await outcome(runFanfare(['serve'], settings))
    expect(code).toBe(2)
    expect(output).toContain('FANFARE_TLS_CERT (environment): cannot read /no/cert.pem (ENOENT)')
    expect(output).toContain('FANFARE_TLS_KEY (environment): cannot read /no/key.pem (ENOENT)')
  })

  it('ignores the variables of a Kubernetes Service of its name with one warning', async () => {
    const node = runFanfare(['--port', '0', '--internal-port', '0'], {
      FANFARE_SERVICE_HOST: '10.0.0.1',
      FANFARE_PORT: 'tcp://10.0.0.1:8000',
      FANFARE_PORT_8000_TCP_ADDR: '10.0.0.1',
      FANFARE_LOG_FORMAT: 'json',
    })
    await node.line(/"msg":"ready"/)
    expect(node.lines.filter((line) => line.includes('Kubernetes'))).toHaveLength(1)
    await node.stop()
  })
})

describe('fanfare config', () => {
  it('prints values with their sources, flags before the environment before the file, and masks secrets', async () => {
    const file = join(mkdtempSync(join(tmpdir(), 'fanfare-config-')), 'fanfare.yaml')
    writeFileSync(file, 'port: 1\nrawTimeout: 40s\nmaxMessageBytes: 2MiB\n')
    const { code, output } = await outcome(
      runFanfare(['config', '--config', file, '--raw-timeout', '60s'], {
        FANFARE_RAW_TIMEOUT: '50s',
        FANFARE_PORT: '2',
        FANFARE_API_KEY: 'hush',
        FANFARE_AUTH_TOKENS: 'hush',
        FANFARE_REDIS_URL: 'redis://user:hush@example.com',
      }),
    )
    expect(code).toBe(0)
    expect(output).toMatch(/FANFARE_RAW_TIMEOUT +1m +flag +30s/)
    expect(output).toMatch(/FANFARE_PORT +2 +environment +8000/)
    expect(output).toMatch(/FANFARE_MAX_MESSAGE_BYTES +2MiB +file +1MiB/)
    expect(output).toMatch(/FANFARE_REDIS_URL +redis:\/\/user:\*\*\*@example.com/)
    expect(output).not.toContain('hush')
  })
})

describe('fanfare token and fanfare publish', () => {
  it('make a token that a node accepts in its channels, and publish to a channel', async () => {
    const settings = { FANFARE_AUTH_HMAC_SECRET: 'a secret for tokens', FANFARE_API_KEY: API_KEY }
    const node = await FanfareProcess.start(settings)
    const minted = await outcome(
      runFanfare(['token', '--user', 'bob', '--channel', 'room', '--ttl', '5m'], settings),
    )
    const client = await RawClient.connect(`${node.wsUrl}/ws/room?events=join`, { token: minted.output })
    expect(JSON.parse(await client.nextText())).toMatchObject({ user: 'bob' })

    const publish = (data: string) =>
      runFanfare(['publish', 'room', data], { ...settings, FANFARE_PORT: String(node.port) })
    expect(await outcome(publish('{"a":1}'))).toEqual({ code: 0, output: '' })
    expect(await outcome(publish('plain text'))).toEqual({ code: 0, output: '' })
    const piped = publish('-')
    piped.write('from standard input')
    piped.endInput()
    expect(await outcome(piped)).toEqual({ code: 0, output: '' })
    expect(await client.nextTexts(3)).toEqual(['{"a":1}', '"plain text"', '"from standard input"'])
    await node.child.stop()
  })

  it('make a subscription token for a private channel', async () => {
    const settings = { FANFARE_AUTH_HMAC_SECRET: 'a secret for tokens', FANFARE_AUTH_TOKENS: 'bob=secret' }
    const node = await FanfareProcess.start(settings)
    const bob = await SdkClient.connect(node.wsUrl, { token: 'secret' })
    const minted = await outcome(runFanfare(['token', '--user', 'bob', '--subscribe', '$staff'], settings))
    await bob.subscribe('$staff', { token: minted.output })
    const both = ['token', '--user', 'bob', '--subscribe', '$staff', '--channel', 'room']
    expect((await outcome(runFanfare(both, settings))).code).toBe(2)
    bob.close()
    await node.child.stop()
  })

  it('print one line about a missing or wrong argument', async () => {
    const minted = await outcome(runFanfare(['token', '--user', 'bob']))
    expect(minted).toEqual({
      code: 2,
      output: expect.stringContaining('FANFARE_AUTH_HMAC_SECRET is not set'),
    })
    const published = await outcome(
      runFanfare(['publish', 'room', 'x', '--url', 'http://127.0.0.1:9'], { FANFARE_API_KEY: 'k' }),
    )
    expect(published).toEqual({ code: 1, output: expect.stringContaining('cannot be reached') })
    expect((await outcome(runFanfare(['nonsense']))).code).toBe(2)
    expect((await outcome(runFanfare(['--version']))).output).toBe('0.1.0')
  })
})
