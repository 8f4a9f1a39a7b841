#!/usr/bin/env node
import { runCommand } from './cli/program.js'

// The reader of the output may end first, as in `fanfare monitor … | head`: that is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1))

process.exit(await runCommand(process.argv.slice(2)))
