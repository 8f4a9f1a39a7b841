import { Counter, Rate, Trend } from 'k6/metrics'

/** From when a message was due to when it was received. */
export const deliveryLatency = new Trend('delivery_latency', true)

/** 1 for each delivery that came, 0 for each that did not. */
export const deliveriesReceived = new Rate('deliveries_received')

/** Deliveries that came twice, too early, or after one that should have come later. */
export const sequenceErrors = new Counter('sequence_errors')

/** Connections that were refused, were not open in time, or ended before the client disconnected. */
export const connectionFailures = new Counter('connection_failures')

/** What both scenarios demand, on a machine that also runs the nodes, Redis and k6. */
export const thresholds = {
  delivery_latency: ['p(95)<100', 'p(99)<250'],
  deliveries_received: ['rate==1'],
  sequence_errors: ['count==0'],
  connection_failures: ['count==0'],
}

export const summaryTrendStats = ['avg', 'med', 'p(95)', 'p(99)', 'max']

/** Counts the deliveries that a virtual user expected and did not receive. */
export function countMissing(missing: number): void {
  for (let index = 0; index < missing; index += 1) deliveriesReceived.add(0)
}
