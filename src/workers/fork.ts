import { type ChildProcess, fork } from 'node:child_process'

/**
 * Starts a process whose messages are passed by structured clone. Node's default is JSON, which changes values silently:
 * a RegExp or a Map becomes `{}`, Infinity `null`, a Buffer an object. A value that can't be cloned, such as a function,
 * makes `send` throw.
 */
export function forkWorker(file: string): ChildProcess {
  return fork(file, { serialization: 'advanced' })
}
