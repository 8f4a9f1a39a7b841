import { execFileSync, spawnSync } from 'node:child_process'

/** Commands of the system, and the Debian package that contains each. */
const PACKAGE_OF = {
  'redis-server': 'redis-server',
  haproxy: 'haproxy',
  prometheus: 'prometheus',
  promtool: 'prometheus',
  curl: 'curl',
  ps: 'procps',
} as const

export type SystemCommand = keyof typeof PACKAGE_OF

/** Debian installs services to /usr/sbin, which is not in the PATH of a user without privileges. */
const SEARCH_PATH = `${process.env['PATH'] ?? ''}:/usr/sbin:/usr/local/sbin`

/**
 * Installs the packages given as arguments for their commands alone: services that Debian would start, now and with
 * every boot, are neither running nor enabled afterwards. A policy-rc.d that the system already has (Debian Policy,
 * 9.3.3.1) is left as it is.
 */
const INSTALL = `
set -eu
export DEBIAN_FRONTEND=noninteractive
policy=/usr/sbin/policy-rc.d
owned=
before=$(ls /etc/init.d)
finish() {
  if [ -n "$owned" ]; then rm -f "$policy"; fi
  for service in $(ls /etc/init.d); do
    if printf '%s\\n' "$before" | grep -qxF -e "$service"; then continue; fi
    update-rc.d "$service" disable
    # The system's own policy may have let it start. One that has not refuses to stop it too.
    if [ -z "$owned" ]; then invoke-rc.d "$service" stop || true; fi
  done
}
trap finish EXIT
trap 'exit 130' INT TERM
if [ ! -e "$policy" ]; then
  owned=yes
  printf '#!/bin/sh\\nexit 101\\n' > "$policy"
  chmod 755 "$policy"
fi
apt-get update -qq
apt-get install -y -qq --no-install-recommends "$@"
`

function isInstalled(command: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${command}`], { env: { PATH: SEARCH_PATH } }).status === 0
}

/** Returns what to put before a command to run it as root: undefined where that takes a password, or is impossible. */
function rootPrefix(): readonly string[] | undefined {
  if (process.getuid?.() === 0) return []
  const sudo = spawnSync('sudo', ['-n', 'true'], { stdio: 'ignore' })
  return sudo.status === 0 ? ['sudo', '-n'] : undefined
}

/**
 * Makes sure that each command can be run: installs the packages of missing ones with apt-get, and prints so first.
 * Throws an error whose message is one line with what to install when it cannot.
 */
export function ensureInstalled(commands: readonly SystemCommand[]): void {
  process.env['PATH'] = SEARCH_PATH
  const missing = commands.filter((command) => !isInstalled(command))
  if (missing.length === 0) return
  const packages = [...new Set(missing.map((command) => PACKAGE_OF[command]))]
  const prefix = isInstalled('apt-get') ? rootPrefix() : undefined
  if (prefix === undefined) {
    throw new Error(
      `Not found: ${missing.join(', ')}. Install ${packages.join(', ')} with your package manager (Debian, Ubuntu: sudo apt-get install -y ${packages.join(' ')}) and run this again.`,
    )
  }
  console.log(`Not found: ${missing.join(', ')}. Installing ${packages.join(', ')} with apt-get...`)
  const [program = 'sh', ...args] = [...prefix, 'sh', '-c', INSTALL, 'install', ...packages]
  try {
    execFileSync(program, args, { stdio: ['ignore', 'ignore', 'pipe'] })
  } catch (error) {
    console.error(String((error as { stderr?: Buffer }).stderr ?? error))
    throw new Error(
      `apt-get could not install ${packages.join(', ')}; install them by hand and run this again.`,
      { cause: error },
    )
  }
}

/** As ensureInstalled, for a run that needs the commands: prints the error's line and ends the process with exit code 1. */
export function requireInstalled(commands: readonly SystemCommand[]): void {
  try {
    ensureInstalled(commands)
  } catch (error) {
    console.error(error instanceof Error ? error.message : error)
    process.exit(1)
  }
}
