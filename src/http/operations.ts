import type { Readiness, ReadyState } from '../node/node.js'
import type { HttpRequestWithBody, HttpResponse, HttpRoute } from '../transport/transport.js'
import { jsonResponse } from './json-response.js'

/** Whether `/ready` answers 200, by the state of the node. */
const IS_READY: Readonly<Record<ReadyState, boolean>> = {
  starting: false,
  ok: true,
  // An outage of Redis must not take every node out of the balancer at once.
  degraded: true,
  deaf: false,
  draining: false,
}

/** Source of the readiness and the metrics: a node, or several workers together. */
export interface OperationsSource {
  readiness(): Readiness | Promise<Readiness>
  metrics(): Promise<{ readonly contentType: string; readonly body: string }>
}

/** Routes of the internal listener, for balancers, supervisors and Prometheus: `/health`, `/ready`, `/metrics`. */
export function operationsRoutes(source: OperationsSource): HttpRoute[] {
  return [
    getRoute('/health', () => jsonResponse(200, { status: 'ok' })),
    getRoute('/ready', async () => readinessResponse(await source.readiness())),
    getRoute('/metrics', async () => {
      const { contentType, body } = await source.metrics()
      return { status: 200, headers: { 'Content-Type': contentType }, body }
    }),
    { path: '/*', maxBodyBytes: 0, handle: () => ({ status: 404, body: 'Not found.\n' }) },
  ]
}

/** A route for GET and HEAD; other methods receive 405. */
export function getRoute(path: string, respond: () => HttpResponse | Promise<HttpResponse>): HttpRoute {
  const handle = ({ method }: HttpRequestWithBody) =>
    method === 'GET' || method === 'HEAD' ? respond() : { status: 405, headers: { Allow: 'GET' } }
  return { path, maxBodyBytes: 0, handle }
}

function readinessResponse({ status, reasons, shards = {}, relaySilenceMs }: Readiness): HttpResponse {
  const isRelaySilent = status === 'degraded' || status === 'deaf'
  return jsonResponse(IS_READY[status] ? 200 : 503, {
    status,
    ...(reasons.length > 0 && { reasons }),
    ...(Object.keys(shards).length > 0 && { shards }),
    ...(isRelaySilent && { relay_silent_seconds: Math.round(relaySilenceMs / 1_000) }),
  })
}
