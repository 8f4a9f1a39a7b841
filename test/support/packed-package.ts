import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { Child } from '../../deploy/local/child-process.js'
import { ROOT } from './repository.js'

/** The options of a user's compiler that also checks the declaration files of packages. */
const USERS_COMPILER_OPTIONS = {
  target: 'es2023',
  module: 'nodenext',
  strict: true,
  exactOptionalPropertyTypes: true,
  skipLibCheck: false,
  types: ['node'],
}

/** A user's project in which Fanfare is installed as `npm install` would do it. */
export class PackedPackage {
  private constructor(
    readonly directory: string,
    /** Paths in the package. */
    readonly files: readonly string[],
  ) {}

  /** Packs the compiled code, and unpacks it beside symbolic links to its dependencies, so that no registry is needed. */
  static async install(): Promise<PackedPackage> {
    const directory = mkdtempSync(join(tmpdir(), 'fanfare-packed-'))
    // Its scripts would compile again, while other tests run the compiled code.
    const packed = await run(
      'npm',
      ['pack', '--ignore-scripts', '--json', '--pack-destination', directory],
      ROOT,
    )
    const [tarball] = JSON.parse(packed) as { filename: string; files: { path: string }[] }[]
    if (tarball === undefined) throw new Error('nothing was packed')
    const home = join(directory, 'node_modules', 'fanfare')
    mkdirSync(home, { recursive: true })
    await run('tar', ['-xzf', join(directory, tarball.filename), '-C', home, '--strip-components=1'])
    const manifest = readFileSync(join(home, 'package.json'), 'utf8')
    const { dependencies } = JSON.parse(manifest) as { dependencies: Record<string, string> }
    for (const name of Object.keys(dependencies)) link(name, join(home, 'node_modules'))
    // A user of TypeScript has the types of Node.
    link('@types/node', join(directory, 'node_modules'))
    return new PackedPackage(
      directory,
      tarball.files.map(({ path }) => path),
    )
  }

  /** Compiles a module as a user would. Resolves with the path of the compiled file. */
  async compile(source: string): Promise<string> {
    writeFileSync(join(this.directory, 'package.json'), JSON.stringify({ type: 'module' }))
    const configuration = { compilerOptions: USERS_COMPILER_OPTIONS, files: ['main.ts'] }
    writeFileSync(join(this.directory, 'tsconfig.json'), JSON.stringify(configuration))
    writeFileSync(join(this.directory, 'main.ts'), source)
    await run(join(ROOT, 'node_modules/.bin/tsc'), ['--project', this.directory])
    return join(this.directory, 'main.js')
  }

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true })
  }
}

function link(name: string, directory: string): void {
  const path = join(directory, name)
  mkdirSync(dirname(path), { recursive: true })
  symlinkSync(join(ROOT, 'node_modules', name), path)
}

/** Resolves with what a program printed; rejects with it when the program failed. */
async function run(command: string, args: readonly string[], cwd?: string): Promise<string> {
  const child = new Child(command, args, cwd === undefined ? {} : { cwd })
  const { code } = await child.exited
  if (code !== 0) throw new Error(`${command} failed:\n${child.output}`)
  return child.output
}
