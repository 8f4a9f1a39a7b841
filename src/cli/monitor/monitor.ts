import { validateHeaderName, validateHeaderValue } from 'node:http'
import { hostname } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { MAX_TIMER_MS } from '../../max-timer.js'
import { UsageError } from '../usage-error.js'
import { monitorAddress, printedAddress } from './address.js'
import { type ConnectionTimings, MonitorConnection } from './connection.js'
import { type Failure, failureLine, printable, reportLine, seconds } from './lines.js'
import {
  decodeBinaryReport,
  decodeTextReport,
  encodeBinaryReport,
  encodeTextReport,
  MachineSampler,
} from './report.js'

/** The default of a node's setting `authHeader`. */
export const DEFAULT_TOKEN_HEADER = 'X-Auth-Token'
export const PING_INTERVAL_MS = 8_000
export const PONG_TIMEOUT_MS = 3_000
export const RECONNECT_DELAY_MS = 3_000
export const HANDSHAKE_TIMEOUT_MS = 5_000
/** Short, since the operator waits for the command to end. */
export const CLOSE_TIMEOUT_MS = 2_000

export interface MonitorOptions {
  /** A node or a balancer, `ws://host:port`, or the whole address of a channel. */
  url: string
  channel?: string | undefined
  token?: string | undefined
  /** The header that carries the token; default: DEFAULT_TOKEN_HEADER. */
  header?: string | undefined
  reportIntervalMs: number
  /** Whether to report in binary frames; received reports may have either form. */
  binary: boolean
  /** The name to report under; default: host name and process id. */
  reporter?: string | undefined
  /** Default: the constants above. */
  timings?: Partial<MonitorTimings> | undefined
}

export interface MonitorTimings extends ConnectionTimings {
  reconnectDelayMs: number
}

export interface MonitorIo {
  /** Receives one event, a line without its newline. */
  print(line: string): void
  /** Closes the connection and lets runMonitor return. */
  signal: AbortSignal
}

/**
 * Reports this machine's CPU and memory to a channel and prints what others publish there, until the signal aborts.
 * Prints what ended a connection, and reconnects. Rejects only with a UsageError, which no retry mends.
 */
export async function runMonitor(options: MonitorOptions, io: MonitorIo): Promise<void> {
  await new Monitor(options, io).run()
}

class Monitor {
  private readonly address: URL
  private readonly headers: Record<string, string>
  private readonly timings: MonitorTimings
  private readonly reporter: string
  /** Secrets that an error of the server or of a proxy may repeat, and that must not be printed. */
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
      const failure = await this.runConnection()
      if (this.io.signal.aborted) break
      const line = failureLine(failure, this.secrets)
      this.print(`${line}; reconnecting in ${seconds(this.timings.reconnectDelayMs)}`)
      // Rejects when the signal aborts, which the loop's condition checks.
      await sleep(this.timings.reconnectDelayMs, undefined, { signal: this.io.signal }).catch(() => undefined)
    }
    this.print('stopped')
  }

  /** Connects once. Resolves with what ended the connection; never rejects. */
  private async runConnection(): Promise<Failure> {
    let reportTimer: NodeJS.Timeout | undefined
    const connection = new MonitorConnection(this.address, this.headers, this.timings, {
      opened: () => {
        const interval = seconds(this.options.reportIntervalMs)
        const address = printedAddress(this.address)
        this.print(`connected to ${address} as ${this.reporter}, reporting every ${interval}`)
        const sampler = new MachineSampler()
        reportTimer = setInterval(() => connection.send(this.report(sampler)), this.options.reportIntervalMs)
      },
      text: (text) => this.printText(text),
      binary: (bytes) => this.printBinary(bytes),
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

  private printText(text: string): void {
    const report = decodeTextReport(text)
    this.print(report === undefined ? `message: ${printable(text)}` : reportLine(report, 'text'))
  }

  private printBinary(bytes: Buffer): void {
    const report = decodeBinaryReport(bytes)
    this.print(report === undefined ? `message: ${bytes.length} bytes binary` : reportLine(report, 'binary'))
  }

  private print(event: string): void {
    this.io.print(`${new Date().toISOString()} ${event}`)
  }
}

function tokenHeaders(options: MonitorOptions): Record<string, string> {
  if (options.token === undefined) return {}
  const name = options.header ?? DEFAULT_TOKEN_HEADER
  try {
    validateHeaderName(name)
    validateHeaderValue(name, options.token)
  } catch (error) {
    throw new UsageError(
      `the token can't be sent: it, or ${JSON.stringify(name)}, does not fit an HTTP header`,
      { cause: error },
    )
  }
  return { [name]: options.token }
}

function checkInterval(reportIntervalMs: number): void {
  if (reportIntervalMs >= 1 && reportIntervalMs <= MAX_TIMER_MS) return
  throw new UsageError(`can't report every ${reportIntervalMs} ms: expected 1 ms to ${MAX_TIMER_MS} ms`)
}

/** The token and the credentials of the address, each as it is and percent-encoded. */
function secretsOf(token: string | undefined, address: URL): string[] {
  const given = [token ?? '', address.password, ...address.searchParams.getAll('token')]
  return given.filter((secret) => secret !== '').flatMap((secret) => [secret, encodeURIComponent(secret)])
}
