import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { Child } from './child-process.js'
import { TOP } from './deployment.js'
import { cleanEnvironment } from './fanfare-process.js'

const COMPILER = join('node_modules', 'typescript', 'bin', 'tsc')
const COMPILER_RUNS = 'compiler-runs'

/** A copy of what `npm start` needs of a fresh clone, not built; its dependencies are links to those of this one. */
export class SourceTree {
  readonly directory = mkdtempSync(join(tmpdir(), 'fanfare-build-'))
  private readonly children: Child[] = []

  constructor() {
    for (const name of ['package.json', 'tsconfig.json', 'src', 'deploy/build.mjs', 'README.md', 'LICENSE']) {
      this.copy(name)
    }
    mkdirSync(this.path('node_modules'))
    for (const name of readdirSync(join(TOP, 'node_modules'))) {
      if (name !== 'typescript') symlinkSync(join(TOP, 'node_modules', name), this.path('node_modules', name))
    }
    // A file of its own, to be changed.
    rmSync(this.path('node_modules/.package-lock.json'))
    this.copy('node_modules/.package-lock.json')
    // The compiler, after a note that it was started.
    this.write(COMPILER_RUNS, '')
    this.write('node_modules/typescript/package.json', '{ "type": "module" }')
    this.write(
      COMPILER,
      `import { appendFileSync } from 'node:fs'
      appendFileSync(${JSON.stringify(this.path(COMPILER_RUNS))}, 'run\\n')
      await import(${JSON.stringify(join(TOP, COMPILER))})`,
    )
  }

  /** How often the compiler was started so far. */
  get compilerRuns(): number {
    return this.read(COMPILER_RUNS).split('\n').length - 1
  }

  path(...names: string[]): string {
    return join(this.directory, ...names)
  }

  read(name: string): string {
    return readFileSync(this.path(name), 'utf8')
  }

  write(name: string, text: string): void {
    mkdirSync(dirname(this.path(name)), { recursive: true })
    writeFileSync(this.path(name), text)
  }

  remove(name: string): void {
    rmSync(this.path(name), { recursive: true })
  }

  /** From this clone. */
  copy(name: string): void {
    cpSync(join(TOP, name), this.path(name), { recursive: true })
  }

  /** Names and content of all files in dist/. */
  dist(): Record<string, string> {
    const files = readdirSync(this.path('dist'), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
    return Object.fromEntries(
      files.map((file) => [relative(this.path('dist'), file), readFileSync(file, 'utf8')]),
    )
  }

  /** What building leaves beside dist/ while it is under way. */
  leftovers(): string[] {
    return readdirSync(this.directory).filter((name) => name.startsWith('dist.'))
  }

  run(command: string, ...args: string[]): Child {
    const child = new Child(command, args, {
      cwd: this.directory,
      env: cleanEnvironment({ FANFARE_LOG_FORMAT: 'json' }),
    })
    this.children.push(child)
    return child
  }

  /** `npm run build`, without what npm itself prints. */
  async build(...options: string[]): Promise<{ code: number | null; output: string }> {
    const child = this.run('npm', 'run', '--silent', 'build', '--', ...options)
    const { code } = await child.exited
    return { code, output: child.output }
  }

  async dispose(): Promise<void> {
    await Promise.all(this.children.map((child) => child.stop('SIGKILL')))
    rmSync(this.directory, { recursive: true, force: true })
  }
}
