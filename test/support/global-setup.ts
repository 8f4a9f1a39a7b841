import { execFileSync } from 'node:child_process'

/** Once before all tests: the command as users run it. */
export default function setup(): void {
  execFileSync('npm', ['run', '--silent', 'build'], { stdio: 'inherit' })
}
