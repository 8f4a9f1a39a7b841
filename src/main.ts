#!/usr/bin/env node
import { runCommand } from './cli/program.js'

process.exit(await runCommand(process.argv.slice(2)))
