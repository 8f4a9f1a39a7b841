import { validateHeaderName, validateHeaderValue } from 'node:http'
import { hostname } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { MonitorUsageError, monitorAddress, printedAddress } from './monitor/address.js'
import { type ConnectionTimings, MonitorConnection } from './monitor/connection.js'
import { type Failure, failureLine, printable, reportLine, seconds } from './monitor/lines.js'
import {
  decodeBinaryReport,
  decodeTextReport,
  encodeBinaryReport,
  encodeTextReport,
  MachineSampler,
} from './monitor/report.js'

export { MonitorUsageError } from './monitor/address.js'

/** The header that a node reads tokens from unless told otherwise. */
export const DEFAULT_TOKEN_HEADER = 'X-Auth-Token'
export const PING_INTERVAL_MS = 8_000
export const PONG_TIMEOUT_MS = 3_000
export const RECONNECT_DELAY_MS = 3_000
export const HANDSHAKE_TIMEOUT_MS = 5_000
/** Short, since somebody waits for the command to end. */
export const CLOSE_TIMEOUT_MS = 2_000

/** What a timer of Node's can count to; it fires at once where asked for more. */
const MAX_INTERVAL_MS = 2 ** 31 - 1

export interface MonitorOptions {
  /** A node or a balancer, `ws://host:port`, or the whole address of a channel. */
  url: string
  channel?: string | undefined
  token?: string | undefined
  /** Where the token goes; DEFAULT_TOKEN_HEADER. */
  header?: string | undefined
  reportIntervalMs: number
  /** Whether to report in binary frames; reports of both forms are understood. */
  binary: boolean
  /** The name to report under; host name and process id. */
  reporter?: string | undefined
  /** The constants above, for tests that can't wait that long. */
  timings?: Partial<MonitorTimings> | undefined
}

export interface MonitorTimings extends ConnectionTimings {
  reconnectDelayMs: number
}

export interface MonitorIo {
  /** One event, without the line's end. */
  print(line: string): void
  /** Closes the connection and lets runMonitor return. */
  signal: AbortSignal
}

/**
 * Reports this machine's CPU and memory to a channel and prints what others say there, until the signal aborts.
 * Names whatever ends a connection and makes another. Throws only for what no retry mends, a MonitorUsageError.
 */
export async function runMonitor(options: MonitorOptions, io: MonitorIo): Promise<void> {
  await new Monitor(options, io).run()
}

class Monitor {
  private readonly address: URL
  private readonly headers: Record<string, string>
  private readonly timings: MonitorTimings
  private readonly reporter: string
  /** What may come back in an error of the server's or a proxy's, and must not be printed. */
  private readonly secrets: string[]

  constructor(
    private readonly options: MonitorOptions,
    private readonly io: MonitorIo,
  ) {
    this.address = monitorAddress(options.url, options.channel)
    this.headers = tokenHeaders(options)
    checkInterval(options.reportIntervalMs)
    this.timings = {
      pingIntervalMs: PING_INTERVAL_MS,
      pongTimeoutMs: PONG_TIMEOUT_MS,
      handshakeTimeoutMs: HANDSHAKE_TIMEOUT_MS,
      closeTimeoutMs: CLOSE_TIMEOUT_MS,
      reconnectDelayMs: RECONNECT_DELAY_MS,
      ...options.timings,
    }
    this.reporter = options.reporter ?? `${hostname()}:${process.pid}`
    this.secrets = secretsOf(options.token, this.address)
  }

  async run(): Promise<void> {
    while (!this.io.signal.aborted) {
      const failure = await this.visit()
      if (this.io.signal.aborted) break
      const line = failureLine(failure, this.secrets)
      this.tell(`${line}; reconnecting in ${seconds(this.timings.reconnectDelayMs)}`)
      // Rejects when it is asked to stop meanwhile, which the loop's condition sees.
      await sleep(this.timings.reconnectDelayMs, undefined, { signal: this.io.signal }).catch(() => undefined)
    }
    this.tell('stopped')
  }

  /** One connection; resolves with what ended it. */
  private async visit(): Promise<Failure> {
    let reportTimer: NodeJS.Timeout | undefined
    const connection = new MonitorConnection(this.address, this.headers, this.timings, {
      opened: () => {
        const interval = seconds(this.options.reportIntervalMs)
        const place = printedAddress(this.address)
        this.tell(`connected to ${place} as ${this.reporter}, reporting every ${interval}`)
        const sampler = new MachineSampler()
        reportTimer = setInterval(() => connection.send(this.report(sampler)), this.options.reportIntervalMs)
      },
      text: (text) => this.tellText(text),
      binary: (bytes) => this.tellBinary(bytes),
    })
    const stop = () => connection.close()
    this.io.signal.addEventListener('abort', stop)
    try {
      return await connection.ended
    } finally {
      this.io.signal.removeEventListener('abort', stop)
      clearInterval(reportTimer)
    }
  }

  private report(sampler: MachineSampler): string | Buffer {
    const report = { reporter: this.reporter, ...sampler.sample() }
    return this.options.binary ? encodeBinaryReport(report) : encodeTextReport(report)
  }

  private tellText(text: string): void {
    const report = decodeTextReport(text)
    this.tell(report === undefined ? `message: ${printable(text)}` : reportLine(report, 'text'))
  }

  private tellBinary(bytes: Buffer): void {
    const report = decodeBinaryReport(bytes)
    this.tell(report === undefined ? `message: ${bytes.length} bytes binary` : reportLine(report, 'binary'))
  }

  private tell(event: string): void {
    this.io.print(`${new Date().toISOString()} ${event}`)
  }
}

function tokenHeaders(options: MonitorOptions): Record<string, string> {
  if (options.token === undefined) return {}
  const name = options.header ?? DEFAULT_TOKEN_HEADER
  try {
    validateHeaderName(name)
    validateHeaderValue(name, options.token)
  } catch {
    throw new MonitorUsageError(
      `the token can't be sent: it, or ${JSON.stringify(name)}, does not fit an HTTP header`,
    )
  }
  return { [name]: options.token }
}

function checkInterval(reportIntervalMs: number): void {
  if (reportIntervalMs >= 1 && reportIntervalMs <= MAX_INTERVAL_MS) return
  throw new MonitorUsageError(
    `can't report every ${reportIntervalMs} ms: expected 1 ms to ${MAX_INTERVAL_MS} ms`,
  )
}

function secretsOf(token: string | undefined, address: URL): string[] {
  const given = [token ?? '', address.password, ...address.searchParams.getAll('token')]
  return given.filter((secret) => secret !== '').flatMap((secret) => [secret, encodeURIComponent(secret)])
}
