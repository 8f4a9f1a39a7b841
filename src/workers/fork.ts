import { type ChildProcess, fork } from 'node:child_process'

/**
 * Starts a process that messages go to and come from by structured clone. Node's default is JSON, which changes values
 * without a word: a RegExp or a Map becomes `{}`, Infinity `null`, a Buffer an object. What can't be cloned, such as a
 * function, makes `send` throw.
 */
export function forkWorker(file: string): ChildProcess {
  return fork(file, { serialization: 'advanced' })
}
