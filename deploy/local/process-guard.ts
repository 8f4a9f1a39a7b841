import { type ChildProcess, spawn } from 'node:child_process'
import { Socket } from 'node:net'
import type { Writable } from 'node:stream'

/**
 * Reads `+ <pid>` and `- <pid>`, a line each, until its standard input ends, which the operating system sees to however
 * the writing process ends. Then it kills each process that is left, with the process group that it leads, if any.
 */
const GUARD = `
pids=' '
while read -r sign pid; do
  case $sign in
    +) pids="$pids$pid " ;;
    -) pids="\${pids%% $pid *} \${pids#* $pid }" ;;
  esac
done
for pid in $pids; do
  kill -s KILL -- "-$pid" || kill -s KILL "$pid"
done
`

let guard: Writable | undefined

/**
 * Kills a process as soon as this one has ended: by itself, by a signal (SIGKILL too) or by a crash. It installs no
 * handler of signals, so that a program may have its own.
 */
export function endWithThisProcess(child: ChildProcess): void {
  const { pid } = child
  // It could not be started, which its event `error` reports.
  if (pid === undefined) return
  guard ??= startGuard()
  const input = guard
  input.write(`+ ${pid}\n`)
  child.once('exit', () => input.write(`- ${pid}\n`))
}

function startGuard(): Writable {
  // In a session of its own: Ctrl-C signals the terminal's process group, and must not end the guard first.
  const shell = spawn('sh', ['-c', GUARD], { stdio: ['pipe', 'ignore', 'ignore'], detached: true })
  shell.unref()
  if (shell.stdin instanceof Socket) shell.stdin.unref()
  return shell.stdin
}
