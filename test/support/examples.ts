import { Child } from './child-process.js'
import { afterThisTest } from './clean-ups.js'
import { FanfareProcess, MAIN } from './fanfare-process.js'
import { Page } from './page.js'

/** Where the documentation's examples find their node. */
const HOST = '127.0.0.1:8000'

/** What the `export` lines of a script set. */
export function exported(script: string): Record<string, string> {
  const assignments = script.matchAll(/(FANFARE_\w+)=('[^']*'|\S+)/g)
  return Object.fromEntries(
    [...assignments].map(([, name = '', value = '']) => [name, value.replaceAll("'", '')]),
  )
}

/** What the README tells to set for the examples of the documentation. */
export function exampleSettings(): Record<string, string> {
  return exported(new Page('README.md').code('examples-node'))
}

/** A node with the settings of the documentation's examples, and others; stopped after the test. */
export async function startExampleNode(settings: Record<string, string> = {}): Promise<FanfareProcess> {
  const node = await FanfareProcess.start({ ...exampleSettings(), ...settings })
  afterThisTest(() => node.child.stop())
  return node
}

/** An example with a node's own address in the place of the one that is shown. */
export function at(node: FanfareProcess, example: string): string {
  return example.replaceAll(HOST, `127.0.0.1:${node.port}`)
}

/** Runs an example in JavaScript against a node; ended after the test. */
export function runJavaScript(node: FanfareProcess, example: string): Child {
  const child = new Child(process.execPath, ['--input-type=module', '-e', at(node, example)])
  afterThisTest(() => child.stop())
  return child
}

/** Runs the lines of a shell example, with the command that the tests compiled and the settings that are given. */
export function runShell(script: string, settings: Record<string, string> = {}): Child {
  const compiled = script.replaceAll('node dist/src/main.js', `'${process.execPath}' '${MAIN}'`)
  const child = new Child('sh', ['-ec', compiled], { env: { ...process.env, ...settings } })
  afterThisTest(() => child.stop())
  return child
}
