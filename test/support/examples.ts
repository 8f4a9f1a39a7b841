import { Child } from '../../deploy/local/child-process.js'
import { FanfareProcess, MAIN } from '../../deploy/local/fanfare-process.js'
import { afterThisTest } from './clean-ups.js'
import { Page } from './page.js'

/** The address of the node in the documentation's examples. */
const HOST = '127.0.0.1:8000'

/** The environment variables that the `export` lines of a script set. */
export function exported(script: string): Record<string, string> {
  const assignments = script.matchAll(/(FANFARE_\w+)=('[^']*'|\S+)/g)
  return Object.fromEntries(
    [...assignments].map(([, name = '', value = '']) => [name, value.replaceAll("'", '')]),
  )
}

/** The settings that the README gives for the examples of the documentation. */
export function exampleSettings(): Record<string, string> {
  return exported(new Page('README.md').code('examples-node'))
}

/** Starts a node with the settings of the documentation's examples, and others. It is stopped after the test. */
export async function startExampleNode(settings: Record<string, string> = {}): Promise<FanfareProcess> {
  const node = await FanfareProcess.start({ ...exampleSettings(), ...settings })
  afterThisTest(() => node.child.stop())
  return node
}

/** An example with the address of a node instead of the documented one. */
export function at(node: FanfareProcess, example: string): string {
  return example.replaceAll(HOST, `127.0.0.1:${node.port}`)
}

/** Runs an example in JavaScript against a node. It is stopped after the test. */
export function runJavaScript(node: FanfareProcess, example: string): Child {
  const child = new Child(process.execPath, ['--input-type=module', '-e', at(node, example)])
  afterThisTest(() => child.stop())
  return child
}

/** Runs the lines of a shell example with the compiled command and with these settings. It is stopped after the test. */
export function runShell(script: string, settings: Record<string, string> = {}): Child {
  const compiled = script.replaceAll('node dist/src/main.js', `'${process.execPath}' '${MAIN}'`)
  const child = new Child('sh', ['-ec', compiled], { env: { ...process.env, ...settings } })
  afterThisTest(() => child.stop())
  return child
}
