#!/usr/bin/env node
import { runCommand } from './cli/program.js'

// Whoever reads the output may stop reading: `fanfare monitor … | head`.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1))

process.exit(await runCommand(process.argv.slice(2)))
