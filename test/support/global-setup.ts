import { execFileSync } from 'node:child_process'
import { ensureInstalled } from './system-packages.js'

/** Once before all tests: the servers they talk to, and the command as users run it. */
export default function setup(): void {
  ensureInstalled(['redis-server', 'haproxy', 'prometheus', 'promtool'])
  execFileSync('npm', ['run', '--silent', 'build'], { stdio: 'inherit' })
}
