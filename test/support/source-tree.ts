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
import { Child } from '../../deploy/local/child-process.js'
import { cleanEnvironment } from '../../deploy/local/fanfare-process.js'
import { ROOT } from './repository.js'

const COMPILER = join('node_modules', 'typescript', 'bin', 'tsc')
const COMPILER_RUNS = 'compiler-runs'

/** An unbuilt copy of the files that `npm start` needs of a fresh clone. Its dependencies are links to those of this clone. */
export class SourceTree {
  readonly directory = mkdtempSync(join(tmpdir(), 'fanfare-build-'))
  private readonly children: Child[] = []

  constructor() {
    for (const name of ['package.json', 'tsconfig.json', 'src', 'deploy/build.mjs', 'README.md', 'LICENSE']) {
      this.copy(name)
    }
    mkdirSync(this.path('node_modules'))
    for (const name of readdirSync(join(ROOT, 'node_modules'))) {
      if (name !== 'typescript')
        symlinkSync(join(ROOT, 'node_modules', name), this.path('node_modules', name))
    }
    // A copy instead of a link, since tests change it.
    rmSync(this.path('node_modules/.package-lock.json'))
    this.copy('node_modules/.package-lock.json')
    // A compiler that records each of its starts.
    this.write(COMPILER_RUNS, '')
    this.write('node_modules/typescript/package.json', '{ "type": "module" }')
    this.write(
      COMPILER,
      `import { appendFileSync } from 'node:fs'
      appendFileSync(${JSON.stringify(this.path(COMPILER_RUNS))}, 'run\\n')
      await import(${JSON.stringify(join(ROOT, COMPILER))})`,
    )
  }

  /** How often the compiler has been started. */
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

  /** Copies a file or directory from this clone. */
  copy(name: string): void {
    cpSync(join(ROOT, name), this.path(name), { recursive: true })
  }

  /** The content of all files in dist/, by their names. */
  dist(): Record<string, string> {
    const files = readdirSync(this.path('dist'), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
    return Object.fromEntries(
      files.map((file) => [relative(this.path('dist'), file), readFileSync(file, 'utf8')]),
    )
  }

  /** The temporary files and directories of a build beside dist/. */
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

  /** Runs `npm run build`. Resolves with its exit code and its output, without what npm itself prints. */
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
