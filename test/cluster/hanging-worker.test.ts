import { afterAll, beforeAll, expect, it } from 'vitest'
import { FanfareProcess } from '../../deploy/local/fanfare-process.js'
import { freePort } from '../../deploy/local/free-port.js'
import { RedisServer } from '../../deploy/local/redis-server.js'
import { eventually, metric } from '../support/metric.js'
import { RawClient } from '../support/raw-client.js'
import { workersOf } from '../support/workers.js'

let redis: RedisServer
let service: FanfareProcess
let hanging: number

/** Requests a path of the internal port. */
function get(path: string): Promise<Response> {
  return fetch(`${service.internalUrl}${path}`)
}

const opened = (exposition: string) =>
  metric(exposition, 'fanfare_connections_opened_total', '{protocol="raw"}')

beforeAll(async () => {
  redis = await RedisServer.start()
  service = await FanfareProcess.start({
    FANFARE_WORKERS: '2',
    FANFARE_PORT: String(await freePort()),
    FANFARE_REDIS_URL: redis.url,
    FANFARE_AUTH_TOKENS: 'secret',
    FANFARE_DRAIN_WINDOW: '100ms',
  })
  const url = `${service.wsUrl}/ws/room`
  const clients = await Promise.all(
    Array.from({ length: 40 }, () => RawClient.connect(url, { token: 'secret' })),
  )
  await eventually(async () => opened(await (await get('/metrics')).text()) === 40, 'all are counted')
  for (const client of clients) client.close()
  const [worker] = workersOf(service.child.pid)
  if (worker === undefined) throw new Error('there is no worker')
  hanging = worker
  process.kill(hanging, 'SIGSTOP')
})
afterAll(async () => {
  await service.child.stop('SIGKILL')
  await redis.remove()
})

it('a worker that hangs makes /ready answer that the service is not ready', async () => {
  const response = await get('/ready')
  expect(response.status).toBe(503)
  expect(await response.json()).toMatchObject({ status: 'deaf' })
})

it('a worker that hangs keeps its share in the metrics, which are still answered', async () => {
  expect(opened(await (await get('/metrics')).text())).toBe(40)
})

it('a worker that hangs is killed some time after the others are drained', async () => {
  service.child.kill('SIGTERM')
  await service.child.line(/"msg":"draining"/)
  expect((await get('/ready')).status).toBe(503)
  expect((await get('/metrics')).status).toBe(200)
  expect(await service.child.exited).toEqual({ code: 1, signal: null })
  expect(() => process.kill(hanging, 0)).toThrow('ESRCH')
})
