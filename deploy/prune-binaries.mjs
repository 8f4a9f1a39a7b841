// @ts-check
/**
 * Removes binaries of uWebSockets.js that this machine cannot load: the package has one for each platform and each
 * version of Node, 260 MB. Runs after `npm ci` (the script `postprepare`) and keeps the binaries of this platform for
 * every Node that Fanfare runs on; with --only-this-node, as in the Dockerfile, the one that this Node loads.
 * `npm ci --ignore-scripts` restores all of them.
 */
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/**
 * The version of Node's binary interface (process.versions.modules) of Node 20, the oldest that package.json admits.
 */
const OLDEST_ABI = 115

const FOLDER = fileURLToPath(new URL('../node_modules/uWebSockets.js/', import.meta.url))
const platform = `uws_${process.platform}_${process.arch}`
const own = `${platform}_${process.versions.modules}.node`

/** @param {string} name */
function isKept(name) {
  if (process.argv.includes('--only-this-node')) return name === own
  return name.startsWith(`${platform}_`) && Number(/_(\d+)\.node$/.exec(name)?.[1]) >= OLDEST_ABI
}

if (existsSync(FOLDER)) {
  const removed = readdirSync(FOLDER).filter((name) => /^uws_.*\.node$/.test(name) && !isKept(name))
  for (const name of removed) rmSync(FOLDER + name)
  if (removed.length > 0) {
    const what = `${removed.length} binaries of uWebSockets.js that are for other platforms or versions of Node`
    process.stdout.write(`Removed ${what}.\n`)
  }
}
