import { afterEach, describe, expect, it } from 'vitest'
import { FanfareProcess } from '../../deploy/local/fanfare-process.js'
import { RedisServer } from '../../deploy/local/redis-server.js'
import { operationsRoutes } from '../../src/http/operations.js'
import type { ReadyReason, ReadyState } from '../../src/node/node.js'
import type { HttpRequestWithBody } from '../../src/transport/transport.js'
import { API_KEY, callApi } from '../support/api.js'
import { afterThisTest, cleanUp } from '../support/clean-ups.js'
import { codesIn, Page } from '../support/page.js'

afterEach(cleanUp)

const page = new Page('docs/operations.md')
/** A missing state is an error of the compiler. */
const STATES = Object.keys({
  starting: true,
  ok: true,
  degraded: true,
  deaf: true,
  draining: true,
} satisfies Record<ReadyState, true>) as ReadyState[]

/** A missing reason is an error of the compiler. */
const REASONS = Object.keys({
  relay_silent: true,
  redis_unreachable: true,
  redis_replica: true,
  redis_read_only: true,
  redis_loading: true,
  redis_out_of_memory: true,
  redis_no_permission: true,
  redis_no_database: true,
  redis_cluster: true,
  redis_too_old: true,
  redis_identity_unknown: true,
  redis_not_enough_replicas: true,
  redis_persistence_failed: true,
  redis_busy: true,
  redis_unknown_command: true,
  redis_lists_differ: true,
  redis_error: true,
  issuer_keys_missing: true,
  node_stopping: true,
  worker_silent: true,
} satisfies Record<ReadyReason, true>)

interface ExportedMetric {
  readonly type: string
  /** The label names of each of its samples. */
  readonly labels: readonly string[]
}

/** The metrics of an exposition that are Fanfare's own, by name. */
function exportedMetrics(exposition: string): ReadonlyMap<string, ExportedMetric> {
  const declared = [...exposition.matchAll(/^# TYPE fanfare_(\w+) (\w+)$/gm)]
  return new Map(
    declared.map(([, name = '', type = '']) => {
      const samples = exposition.matchAll(
        new RegExp(`^fanfare_${name}(?:_bucket|_sum|_count)?\\{(.*)\\} `, 'gm'),
      )
      const names = [...samples].map(([, labels = '']) =>
        [...labels.matchAll(/(\w+)="/g)]
          .map(([, label]) => label)
          .filter((label) => label !== 'le')
          .join(', '),
      )
      return [name, { type, labels: [...new Set(names)] }]
    }),
  )
}

describe('the page about operations', () => {
  it('has exactly the metrics that a node exports, with their types and labels', async () => {
    const redis = await RedisServer.start()
    afterThisTest(() => redis.remove())
    // The supervisor of workers exports all metrics of a node, and its own.
    const node = await FanfareProcess.start({
      FANFARE_AUTH_TOKENS: 'secret',
      FANFARE_API_KEY: API_KEY,
      FANFARE_REDIS_URL: redis.url,
      FANFARE_WORKERS: '2',
    })
    afterThisTest(() => node.child.stop())
    // Some metrics are exported from their first event on.
    await callApi(node, 'publish', { channel: 'room', data: 1 })
    const exported = exportedMetrics(await node.metrics())
    const rows = page.rows('metrics')
    const names = rows.map(({ cells: [name = ''] }) => codesIn(name)[0] ?? '')
    expect(names.toSorted(), page.where('metrics')).toEqual([...exported.keys()].sort())
    for (const [index, { line, cells }] of rows.entries()) {
      const metric = exported.get(names[index] ?? '')
      expect(cells[1], page.at(line)).toBe(metric?.type)
      for (const labels of metric?.labels ?? []) expect(labels, page.at(line)).toBe(cells[2])
    }
  })

  it('has every state of readiness, with its status', async () => {
    const statuses = await Promise.all(
      STATES.map(async (status) => {
        const routes = operationsRoutes({
          readiness: () => ({ status, reasons: [], relaySilenceMs: 0 }),
          metrics: () => Promise.reject(new Error('not asked for')),
        })
        const ready = routes.find(({ path }) => path === '/ready')
        const request: Partial<HttpRequestWithBody> = { method: 'GET' }
        const answer = await ready?.handle(request as HttpRequestWithBody)
        return [`\`${status}\``, String(answer?.status)]
      }),
    )
    expect(
      page.rows('readiness').map(({ cells }) => cells.slice(0, 2)),
      page.where('readiness'),
    ).toEqual(statuses)
  })

  it('has every reason', () => {
    const documented = page.rows('reasons').map(({ cells: [reason = ''] }) => codesIn(reason)[0])
    expect(documented, page.where('reasons')).toEqual(REASONS)
  })
})
