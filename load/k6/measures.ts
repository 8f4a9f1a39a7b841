import { Counter, Rate, Trend } from 'k6/metrics'

/** From when a message was due to when it was received. */
export const deliveryLatency = new Trend('delivery_latency', true)

/** 1 for each delivery that came, 0 for each that did not. */
export const received = new Rate('deliveries_received')

/** Deliveries that came twice, too early, or after one that should have come later. */
export const sequenceErrors = new Counter('sequence_errors')

/** Connections that were refused, were not open in time, or ended before they were to. */
export const connectionFailures = new Counter('connection_failures')

/** What both scenarios demand, on a machine that also runs the nodes, Redis and k6. */
export const thresholds = {
  delivery_latency: ['p(95)<100', 'p(99)<250'],
  deliveries_received: ['rate==1'],
  sequence_errors: ['count==0'],
  connection_failures: ['count==0'],
}

export const summaryTrendStats = ['avg', 'med', 'p(95)', 'p(99)', 'max']

/** Counts what a virtual user was to receive and did not. */
export function countMissing(missing: number): void {
  for (let index = 0; index < missing; index += 1) received.add(0)
}
