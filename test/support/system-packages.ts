import { execFileSync, spawnSync } from 'node:child_process'

/** A command of the system's, and the Debian package that brings it. */
const PACKAGE_OF = {
  'redis-server': 'redis-server',
  haproxy: 'haproxy',
  prometheus: 'prometheus',
  promtool: 'prometheus',
} as const

export type SystemCommand = keyof typeof PACKAGE_OF

/** Services that Debian installs live in /usr/sbin, which a plain user's PATH lacks. */
const SEARCH_PATH = `${process.env['PATH'] ?? ''}:/usr/sbin:/usr/local/sbin`

function isInstalled(command: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${command}`], { env: { PATH: SEARCH_PATH } }).status === 0
}

/** How to run apt-get as root without asking anybody for a password, or undefined where that can't be done. */
function rootAptGet(): string[] | undefined {
  if (!isInstalled('apt-get')) return undefined
  if (process.getuid?.() === 0) return ['apt-get']
  const sudo = spawnSync('sudo', ['-n', 'true'], { stdio: 'ignore' })
  return sudo.status === 0 ? ['sudo', '-n', 'apt-get'] : undefined
}

function run(command: string[], args: string[]): void {
  const [program, ...first] = command
  if (program === undefined) throw new Error('no command to run')
  execFileSync(program, [...first, ...args], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  })
}

/**
 * Makes sure that each command can be run, through the system's package manager where one is missing, and says so
 * first. Throws one line that tells what to install where it cannot.
 */
export function ensureInstalled(commands: readonly SystemCommand[]): void {
  process.env['PATH'] = SEARCH_PATH
  const missing = commands.filter((command) => !isInstalled(command))
  if (missing.length === 0) return
  const packages = [...new Set(missing.map((command) => PACKAGE_OF[command]))]
  const aptGet = rootAptGet()
  if (aptGet === undefined) {
    throw new Error(
      `Not found: ${missing.join(', ')}. Install ${packages.join(', ')} with your package manager (Debian, Ubuntu: sudo apt-get install -y ${packages.join(' ')}) and run this again.`,
    )
  }
  console.log(`Not found: ${missing.join(', ')}. Installing ${packages.join(', ')} with apt-get...`)
  try {
    run(aptGet, ['update', '-qq'])
    run(aptGet, ['install', '-y', '-qq', '--no-install-recommends', ...packages])
  } catch {
    throw new Error(
      `apt-get could not install ${packages.join(', ')}; install them by hand and run this again.`,
    )
  }
}
