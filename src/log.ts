import { destination, pino, stdTimeFunctions } from 'pino'
import pretty from 'pino-pretty'

type Log = (facts: object, sentence: string) => void

/**
 * Structured logging: an object of facts, then one constant sentence. Never a token, and nothing from a client but as a
 * fact. A pino logger is one, and so is `console`.
 */
export interface Logger {
  readonly debug: Log
  readonly info: Log
  readonly warn: Log
  readonly error: Log
}

export interface LogOptions {
  readonly level: 'debug' | 'info' | 'warn' | 'error' | 'silent'
  readonly format: 'json' | 'pretty'
  /** Number of the worker that logs, where there are several. */
  readonly worker?: number
}

/** Logs to standard output, synchronously, so that nothing is lost when the process ends. */
export function createLogger({ level, format, worker }: LogOptions): Logger {
  const options = {
    level,
    base: worker === undefined ? null : { worker },
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  }
  if (format === 'json') return pino(options, destination({ dest: 1, sync: true }))
  return pino(options, pretty({ sync: true, translateTime: 'SYS:HH:MM:ss.l', singleLine: true }))
}
