import { spawn } from 'node:child_process'
import { writeSync } from 'node:fs'
import { it } from 'vitest'

it('blocks the event loop for ever', () => {
  const child = spawn('sleep', ['600'], { stdio: 'ignore' })
  // Synchronous, since the event loop would never write a log line.
  writeSync(1, `started ${child.pid}\n`)
  for (;;);
})
