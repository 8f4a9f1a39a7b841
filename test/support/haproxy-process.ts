import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Child } from '../../deploy/local/child-process.js'
import { freePort } from '../../deploy/local/free-port.js'
import { eventually } from './metric.js'
import { ROOT } from './repository.js'

export const HAPROXY_CONFIGURATION = `${ROOT}deploy/proxy/haproxy.cfg`

/** A server that HAProxy balances: a node's public port and the internal one that answers /ready, both on 127.0.0.1. */
export interface ProxiedNode {
  port: number
  internalPort: number
}

/** Throws unless the text contains `from` once, so that no test runs with a configuration that has changed since. */
function replaceOnce(text: string, from: string, to: string): string {
  if (text.split(from).length !== 2) throw new Error(`haproxy.cfg should contain exactly one "${from}"`)
  return text.replace(from, () => to)
}

/**
 * A real HAProxy with the shipped configuration, in which only addresses, ports and the timeout of checks are replaced:
 * a node that answers late on a busy machine is not dead.
 */
export class HaproxyProcess {
  private constructor(
    readonly child: Child,
    readonly port: number,
    readonly operationsPort: number,
    private readonly directory: string,
  ) {}

  static async start(nodes: readonly [ProxiedNode, ProxiedNode, ProxiedNode]): Promise<HaproxyProcess> {
    const [port, operationsPort] = [await freePort(), await freePort()]
    let configuration = readFileSync(HAPROXY_CONFIGURATION, 'utf8')
    configuration = replaceOnce(configuration, '\n  bind *:8000\n', `\n  bind 127.0.0.1:${port}\n`)
    configuration = replaceOnce(configuration, '\n  bind *:8404\n', `\n  bind 127.0.0.1:${operationsPort}\n`)
    configuration = replaceOnce(configuration, '\n  timeout check 1s\n', '\n  timeout check 60s\n')
    for (const [index, node] of nodes.entries()) {
      const name = `node${index + 1}`
      const address = `server ${name} 127.0.0.1:${node.port} port ${node.internalPort}`
      configuration = replaceOnce(configuration, `server ${name} ${name}:8000 port 9000`, address)
    }
    const directory = mkdtempSync(join(tmpdir(), 'fanfare-haproxy-'))
    const file = join(directory, 'haproxy.cfg')
    writeFileSync(file, configuration)
    const haproxy = new HaproxyProcess(
      new Child('haproxy', ['-f', file, '-db']),
      port,
      operationsPort,
      directory,
    )
    try {
      await haproxy.listening()
      await haproxy.allChecked()
    } catch (error) {
      await haproxy.remove()
      throw error
    }
    return haproxy
  }

  /** For example `ws://127.0.0.1:8000`. */
  get wsUrl(): string {
    return `ws://127.0.0.1:${this.port}`
  }

  get httpUrl(): string {
    return `http://127.0.0.1:${this.port}`
  }

  /** The number of current connections from HAProxy to each node, by the node's name. */
  async sessions(): Promise<Record<string, number>> {
    return Object.fromEntries((await this.statistics()).map((row) => [row[1], Number(row[4])]))
  }

  /**
   * A row for each node: 1 is its name, 4 its current sessions, 17 its status, 36 that of its last check.
   * https://docs.haproxy.org/2.6/management.html#9.1
   */
  private async statistics(): Promise<string[][]> {
    const csv = await (await fetch(`http://127.0.0.1:${this.operationsPort}/;csv`)).text()
    const rows = csv.split('\n').map((line) => line.split(','))
    return rows.filter(([proxy, server]) => proxy === 'nodes' && server?.startsWith('node'))
  }

  /** Before its first check a node counts as up, and a single late check on a busy machine takes it out. */
  private allChecked(): Promise<void> {
    const isUp = (row: string[]) => row[17] === 'UP' && row[36] === 'L7OK'
    return eventually(async () => (await this.statistics()).every(isUp), 'HAProxy has found all nodes up')
  }

  async remove(): Promise<void> {
    try {
      await this.child.stop()
    } finally {
      rmSync(this.directory, { recursive: true, force: true })
    }
  }

  private async listening(): Promise<void> {
    for (;;) {
      const answer = await Promise.race([
        fetch(`http://127.0.0.1:${this.operationsPort}/ready`).catch(() => undefined),
        this.child.exited,
      ])
      if (answer !== undefined && 'code' in answer) throw new Error(`HAProxy ended:\n${this.child.output}`)
      if (answer?.ok === true) return
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
}
