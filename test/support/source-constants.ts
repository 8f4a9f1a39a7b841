import { readFileSync } from 'node:fs'
import { runInNewContext } from 'node:vm'
import { ROOT } from './repository.js'

/** Reads a numeric constant of a source file, exported or not, to compare it with its documentation. */
export function constantOf(path: string, name: string): number {
  const source = readFileSync(`${ROOT}${path}`, 'utf8')
  const declared = new RegExp(`^(?:export )?const ${name} = ([\\d_.*+ ()]+)$`, 'm').exec(source)?.[1]
  if (declared === undefined) throw new Error(`${path} has no constant ${name} that is a number`)
  return Number(runInNewContext(declared))
}
