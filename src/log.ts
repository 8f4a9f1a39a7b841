import { destination, pino, stdTimeFunctions } from 'pino'
import pretty from 'pino-pretty'

type LogMethod = (facts: object, sentence: string) => void

/**
 * Structured logging: an object of facts, then one constant sentence. Tokens are never logged, and data from a client
 * only as a fact, never in the sentence. A pino logger and `console` both implement this interface.
 */
export interface Logger {
  readonly debug: LogMethod
  readonly info: LogMethod
  readonly warn: LogMethod
  readonly error: LogMethod
}

export interface LogOptions {
  readonly level: 'debug' | 'info' | 'warn' | 'error' | 'silent'
  readonly format: 'json' | 'pretty'
  /** Number of the worker that logs; absent when the node is a single process. */
  readonly worker?: number
}

/** Creates a logger to standard output. It writes synchronously, so that no line is lost when the process ends. */
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
