import type { Readiness, ReadyState } from '../node/node.js'
import type { HttpRequestWithBody, HttpResponse, HttpRoute } from '../transport/transport.js'

const IS_READY: Readonly<Record<ReadyState, boolean>> = {
  starting: false,
  ok: true,
  // An outage of Redis must not take every node out of the balancer at once.
  degraded: true,
  deaf: false,
  draining: false,
}

/** What the answers come from: a node, or several workers together. */
export interface OperationsSource {
  readiness(): Readiness | Promise<Readiness>
  metrics(): Promise<{ readonly contentType: string; readonly body: string }>
}

/** What operators' machines ask: `/health`, `/ready`, `/metrics`. For the internal listener. */
export function operationsRoutes(source: OperationsSource): HttpRoute[] {
  return [
    getRoute('/health', () => json(200, { status: 'ok' })),
    getRoute('/ready', async () => ready(await source.readiness())),
    getRoute('/metrics', async () => {
      const { contentType, body } = await source.metrics()
      return { status: 200, headers: { 'Content-Type': contentType }, body }
    }),
    { path: '/*', maxBodyBytes: 0, handle: () => ({ status: 404, body: 'Not found.\n' }) },
  ]
}

/** Answers GET, and HEAD. */
export function getRoute(path: string, respond: () => HttpResponse | Promise<HttpResponse>): HttpRoute {
  const handle = ({ method }: HttpRequestWithBody) =>
    method === 'GET' || method === 'HEAD' ? respond() : { status: 405, headers: { Allow: 'GET' } }
  return { path, maxBodyBytes: 0, handle }
}

function ready({ status, relaySilenceMs }: Readiness): HttpResponse {
  const isRelaySilent = status === 'degraded' || status === 'deaf'
  const silence = isRelaySilent ? { relay_silent_seconds: Math.round(relaySilenceMs / 1_000) } : {}
  return json(IS_READY[status] ? 200 : 503, { status, ...silence })
}

function json(status: number, body: unknown): HttpResponse {
  return { status, headers: { 'Content-Type': 'application/json' }, body: `${JSON.stringify(body)}\n` }
}
