import { readFileSync } from 'node:fs'
import { runInNewContext } from 'node:vm'
import { TOP } from './page.js'

/** A number that a file of the sources keeps to itself, for a page that tells it. */
export function constantOf(path: string, name: string): number {
  const source = readFileSync(`${TOP}${path}`, 'utf8')
  const declared = new RegExp(`^(?:export )?const ${name} = ([\\d_.*+ ()]+)$`, 'm').exec(source)?.[1]
  if (declared === undefined) throw new Error(`${path} has no constant ${name} that is a number`)
  return Number(runInNewContext(declared))
}
