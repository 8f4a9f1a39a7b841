import { execFileSync } from 'node:child_process'

/** Builds the command as users run it, once before all tests. */
export default function setup(): void {
  execFileSync('npm', ['run', '--silent', 'build'], { stdio: 'inherit' })
}
