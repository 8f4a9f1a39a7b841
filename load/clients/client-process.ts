import type { DeliveryReport } from './delivery-ledger.js'
import { HelperProcess } from './helper-process.js'
import type { ConnectRequest, Latencies, PublishReport, PublishRequest, Reply, Request } from './requests.js'

/** A process of clients. */
class ClientProcess extends HelperProcess<Request, Reply> {
  constructor(module: string) {
    super(new URL(module, import.meta.url))
  }

  connect(request: Omit<ConnectRequest, 'kind'>): Promise<Reply> {
    return this.request({ kind: 'connect', ...request })
  }
}

/** A process of subscribers, seen from the benchmark. */
export class Subscribers extends ClientProcess {
  constructor() {
    super('./subscribers.js')
  }

  async disconnect(): Promise<void> {
    await this.request({ kind: 'disconnect' })
  }

  /** Starts to check deliveries of the messages `first` to `first + messages - 1`. */
  async expect(first: number, messages: number): Promise<void> {
    await this.request({ kind: 'expect', first, messages })
  }

  /** Resolves once every expected delivery has arrived, at the latest at the deadline (monotonic ms). */
  async report(deadlineMs: number): Promise<DeliveryReport> {
    const { deliveries } = await this.request({ kind: 'report', deadlineMs })
    if (deliveries === undefined) throw new Error('no report of deliveries')
    return deliveries
  }
}

/** The publisher's process, seen from the benchmark. */
export class Publisher extends ClientProcess {
  constructor() {
    super('./publisher.js')
  }

  /** Sends on a schedule and resolves after the last message was sent. */
  async publish(request: Omit<PublishRequest, 'kind'>): Promise<PublishReport> {
    const { published } = await this.request({ kind: 'publish', ...request })
    if (published === undefined) throw new Error('no report')
    return published
  }
}

/** The process of a client that measures how long a server takes to answer, seen from the benchmark. */
export class EchoClient extends ClientProcess {
  constructor() {
    super('./echo.js')
  }

  async echo(url: string, headers: Record<string, string>): Promise<void> {
    await this.request({ kind: 'echo', url, headers })
  }

  /** The latencies since the last call. */
  async takeLatencies(): Promise<Latencies> {
    const { latencies } = await this.request({ kind: 'latencies' })
    if (latencies === undefined) throw new Error('no latencies')
    return latencies
  }
}
