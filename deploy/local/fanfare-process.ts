import { fileURLToPath } from 'node:url'
import { Child, type ChildOptions } from './child-process.js'
import { freePort } from './free-port.js'

/** The compiled command: dist/src/main.js, seen from the sources and from dist/ alike. */
export const MAIN = fileURLToPath(
  new URL(
    import.meta.url.includes('/dist/') ? '../../src/main.js' : '../../dist/src/main.js',
    import.meta.url,
  ),
)

/** This process's environment with these settings, and without any other setting of Fanfare. */
export function cleanEnvironment(settings: Record<string, string>): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('FANFARE_'))
  return { ...Object.fromEntries(inherited), ...settings }
}

/** Runs `fanfare <args>` as a user would, in a process of its own, with these settings and no others. */
export function runFanfare(
  args: readonly string[],
  settings: Record<string, string> = {},
  options: ChildOptions = {},
): Child {
  return new Child(process.execPath, [MAIN, ...args], {
    ...options,
    env: { ...cleanEnvironment(settings), ...options.env },
  })
}

/** A node in a process of its own, on free ports unless its settings name others. */
export class FanfareProcess {
  private constructor(
    readonly child: Child,
    readonly port: number,
    readonly internalPort: number,
  ) {}

  /**
   * Resolves once the node is ready; rejects with what it printed when it ends instead. `descriptors`: how many the
   * process may open, as many as this one unless given. Flags have precedence over settings.
   */
  static async start(
    settings: Record<string, string> = {},
    { descriptors, flags = [] }: { descriptors?: number; flags?: readonly string[] } = {},
  ): Promise<FanfareProcess> {
    const allSettings = {
      FANFARE_LOG_FORMAT: 'json',
      FANFARE_PORT: String(await freePort()),
      FANFARE_INTERNAL_PORT: String(await freePort()),
      ...settings,
    }
    const limited = `ulimit -n ${descriptors}; exec "$0" "$@"`
    const child =
      descriptors === undefined
        ? runFanfare(['serve', ...flags], allSettings)
        : new Child('sh', ['-c', limited, process.execPath, MAIN, 'serve', ...flags], {
            env: cleanEnvironment(allSettings),
          })
    const ready = JSON.parse(await child.line(/"msg":"ready"/)) as { port: number; internalPort: number }
    return new FanfareProcess(child, ready.port, ready.internalPort)
  }

  /** For example `ws://127.0.0.1:8000`. */
  get wsUrl(): string {
    return `ws://127.0.0.1:${this.port}`
  }

  get httpUrl(): string {
    return `http://127.0.0.1:${this.port}`
  }

  get internalUrl(): string {
    return `http://127.0.0.1:${this.internalPort}`
  }

  async metrics(): Promise<string> {
    return (await fetch(`${this.internalUrl}/metrics`)).text()
  }
}
