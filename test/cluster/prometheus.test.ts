import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, it } from 'vitest'
import { z } from 'zod'
import { Child } from '../../deploy/local/child-process.js'
import { FanfareProcess } from '../../deploy/local/fanfare-process.js'
import { freePort } from '../../deploy/local/free-port.js'
import { RedisServer } from '../../deploy/local/redis-server.js'
import { afterThisTest, cleanUp } from '../support/clean-ups.js'
import { scrapeTargets, shipped } from '../support/deployment.js'

const answerSchema = z.object({
  data: z.object({
    result: z.array(
      z.object({
        metric: z.record(z.string(), z.string()),
        value: z.tuple([z.number(), z.string()]),
      }),
    ),
  }),
})

afterEach(cleanUp)

/** A real Prometheus with the shipped configuration, in which only the targets are replaced. */
async function startPrometheus(targets: Map<string, string>): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), 'fanfare-prometheus-'))
  afterThisTest(() => rmSync(directory, { recursive: true, force: true }))
  let configuration = shipped('deploy/prometheus/prometheus.yml')
  for (const [from, to] of targets) configuration = configuration.replaceAll(from, to)
  const file = join(directory, 'prometheus.yml')
  writeFileSync(file, configuration)
  const port = await freePort()
  const child = new Child('prometheus', [
    `--config.file=${file}`,
    `--storage.tsdb.path=${join(directory, 'data')}`,
    `--web.listen-address=127.0.0.1:${port}`,
  ])
  afterThisTest(() => child.stop())
  await child.line(/Server is ready to receive web requests/)
  return `http://127.0.0.1:${port}`
}

async function query(url: string, expression: string) {
  const response = await fetch(`${url}/api/v1/query?query=${encodeURIComponent(expression)}`)
  const { result } = answerSchema.parse(await response.json()).data
  return Object.fromEntries(result.map(({ metric, value }) => [metric['instance'], value[1]]))
}

it('scrapes three nodes with the shipped Prometheus configuration', async () => {
  const redis = await RedisServer.start()
  afterThisTest(() => redis.remove())
  const targets = new Map<string, string>()
  for (const target of scrapeTargets()['fanfare'] ?? []) {
    const node = await FanfareProcess.start({ FANFARE_REDIS_URL: redis.url, FANFARE_AUTH_TOKENS: 'secret-a' })
    afterThisTest(() => node.child.stop('SIGKILL'))
    targets.set(target, `127.0.0.1:${node.internalPort}`)
  }
  const prometheus = await startPrometheus(targets)

  const everyNode = (value: string) => Object.fromEntries([...targets.values()].map((node) => [node, value]))
  // Prometheus spreads its first scrapes over the interval of 10 s.
  await expect.poll(() => query(prometheus, 'up{job="fanfare"}')).toEqual(everyNode('1'))
  expect(await query(prometheus, 'fanfare_draining')).toEqual(everyNode('0'))
})
