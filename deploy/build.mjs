// @ts-check
/**
 * Compiles the sources into dist/, unless dist/ was made from just these: `npm run build`, and before `npm start`,
 * `npm run load` and `npm run docs`. After `npm ci` (the script `postprepare`) it runs with --if-possible.
 *
 * dist/ is replaced as a whole, and only when the compiler reports no errors: a process that starts finds one complete
 * build, and mistakes in the sources leave the last good build. Processes that build at the same time take turns, and
 * the later ones find the build up to date. A running node is not affected, since it has loaded its modules before. A
 * supervisor starts later workers from the new build, so that it has to be restarted after a change of the messages
 * between supervisor and workers.
 */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const TOP = fileURLToPath(new URL('..', import.meta.url))
const DIST = join(TOP, 'dist')
/** A folder that exists while a process builds. */
const LOCK = `${DIST}.lock`
/**
 * Where this process builds, and where it moves the replaced build: beside dist/, because a rename needs one file
 * system.
 */
const NEXT = `${DIST}.next-${process.pid}`
const LAST = `${DIST}.last-${process.pid}`
const COMPILER = join(TOP, 'node_modules/typescript/bin/tsc')

/** Lists, in dist/, the inputs of the build with their hashes. */
const INPUTS_FILE = 'inputs.json'
/** The compiler's record of the last build, with which it compiles only what changed. */
const COMPILER_STATE = 'tsconfig.tsbuildinfo'

/** A process that builds updates the lock's modification time this often, which shows that it is alive. */
const LOCK_REFRESH_MS = 1_000
/** A lock that was not updated for so long was left by a process that was killed. */
const LOCK_ABANDONED_MS = 10_000
const POLL_MS = 50

/** @type {number | undefined} Process group of the running compiler. */
let compilerGroup

/**
 * Lists what tsconfig.json includes, and all other files of src/, for example Lua. Paths are relative to the top, with
 * `/`.
 */
function listSources() {
  /** @type {{ include: string[] }} */
  const { include } = JSON.parse(readFileSync(join(TOP, 'tsconfig.json'), 'utf8'))
  return include
    .filter((name) => existsSync(join(TOP, name)))
    .flatMap((name) => (statSync(join(TOP, name)).isFile() ? [name] : listFiles(name)))
    .filter((name) => name.endsWith('.ts') || name.startsWith('src/'))
}

/** @param {string} folder */
function listFiles(folder) {
  return readdirSync(join(TOP, folder), { recursive: true, encoding: 'utf8' })
    .map((name) => `${folder}/${name}`)
    .filter((name) => !/\/\./.test(name) && statSync(join(TOP, name)).isFile())
}

/** @param {string} source */
function isCompiled(source) {
  return source.endsWith('.ts') && !source.endsWith('.d.ts')
}

/**
 * The files of dist/ that come from a source. A file of src/ that is not compiled is copied.
 * @param {string} source
 */
function outputsOf(source) {
  if (isCompiled(source)) return [source.replace(/ts$/, 'js'), source.replace(/ts$/, 'd.ts')]
  return source.startsWith('src/') ? [source] : []
}

/**
 * The inputs of a build, each with a hash of its content. The installed packages, which are the compiler and the types
 * of dependencies, are an input only where the compiler is installed.
 * @param {string[]} sources
 * @returns {Map<string, string>}
 */
function hashInputs(sources) {
  const files = new Map(
    ['deploy/build.mjs', 'package.json', 'tsconfig.json', ...sources].map((name) => [name, name]),
  )
  if (existsSync(COMPILER)) files.set('the installed packages', 'node_modules/.package-lock.json')
  return new Map([...files].map(([name, path]) => [name, hash(readFileSync(join(TOP, path)))]))
}

/** @param {Buffer} content */
function hash(content) {
  return createHash('sha256').update(content).digest('base64')
}

/** @returns {Map<string, string> | undefined} The inputs of dist/; undefined where it is missing or incomplete. */
function lastInputs() {
  const text = readIfExists(join(DIST, INPUTS_FILE))
  if (text === undefined) return undefined
  /** @type {Record<string, string>} */
  const inputs = JSON.parse(text)
  const outputs = Object.keys(inputs).flatMap(outputsOf)
  return outputs.every((output) => existsSync(join(DIST, output)))
    ? new Map(Object.entries(inputs))
    : undefined
}

/**
 * Reads a file of dist/, which another process may replace at any moment. Undefined where it does not exist.
 * @param {string} path
 */
function readIfExists(path) {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}

/**
 * @param {unknown} error
 * @param {string} code
 */
function hasCode(error, code) {
  return error instanceof Error && 'code' in error && error.code === code
}

/**
 * The reason to build dist/, in words; undefined where it is up to date.
 * @param {Map<string, string>} inputs
 */
function reasonToBuild(inputs) {
  const last = lastInputs()
  if (last === undefined) return 'there is no whole build yet'
  const names = new Set([...last.keys(), ...inputs.keys()])
  if (!existsSync(COMPILER)) names.delete('the installed packages')
  const [first, ...others] = [...names].filter((name) => last.get(name) !== inputs.get(name))
  if (first === undefined) return undefined
  return others.length === 0 ? `${first} changed` : `${first} and ${others.length} more changed`
}

/**
 * Compiles into a folder beside dist/, and replaces dist/ by it. Resolves with the exit code.
 * @param {string[]} sources
 * @param {Map<string, string>} inputs
 */
async function build(sources, inputs) {
  const outputs = sources.flatMap(outputsOf)
  const copied = new Set(sources.filter((source) => !isCompiled(source) && outputs.includes(source)))
  // The compiler writes only what changed, so that all else is copied from the last build. Outputs of removed sources
  // are not copied.
  const kept = lastInputs() === undefined ? [] : [COMPILER_STATE, ...outputs]
  for (const output of [...kept, ...copied]) {
    const from = join(copied.has(output) ? TOP : DIST, output)
    mkdirSync(dirname(join(NEXT, output)), { recursive: true })
    if (existsSync(from)) copyFileSync(from, join(NEXT, output))
  }
  if (!(await compile())) return 1
  chmodSync(join(NEXT, 'src/main.js'), 0o755)
  writeFileSync(join(NEXT, INPUTS_FILE), JSON.stringify(Object.fromEntries(inputs), null, 2))
  if (existsSync(DIST)) renameSync(DIST, LAST)
  renameSync(NEXT, DIST)
  return 0
}

/**
 * Runs the compiler, whose errors go to standard error: standard output is the node's.
 * @returns {Promise<boolean>} whether it found no errors
 */
function compile() {
  const args = ['--noEmit', 'false', '--incremental', '--outDir', NEXT]
  // A process group of its own: a signal to the compiler's launcher alone would not end the compiler.
  const started = spawn(process.execPath, [COMPILER, ...args], {
    cwd: TOP,
    stdio: ['ignore', 2, 2],
    detached: true,
  })
  compilerGroup = started.pid
  return new Promise((resolve, reject) => {
    started.once('error', reject)
    started.once('exit', (code) => {
      compilerGroup = undefined
      resolve(code === 0)
    })
  })
}

/**
 * Removes a file or folder. Tries again, since a compiler that was just killed may still have written into it.
 * @param {string} path
 */
function remove(path) {
  rmSync(path, { recursive: true, force: true, maxRetries: 5 })
}

/** Removes the folders beside dist/ of this build, or of one that was killed. */
function removeLeftovers() {
  for (const name of readdirSync(TOP)) {
    if (/^dist\.(next|last)-/.test(name)) remove(join(TOP, name))
  }
}

function releaseLock() {
  removeLeftovers()
  remove(LOCK)
}

function interrupt() {
  if (compilerGroup !== undefined) process.kill(-compilerGroup, 'SIGKILL')
  releaseLock()
  process.exit(1)
}

/** Waits until no other process builds. Removes the lock of a process that was killed. */
async function acquireLock() {
  /** @type {number | undefined} */
  let lastUpdateMs
  let seenAtMs = 0
  for (;;) {
    try {
      mkdirSync(LOCK)
      return
    } catch (error) {
      if (!hasCode(error, 'EEXIST')) throw error
    }
    const updateMs = statSync(LOCK, { throwIfNoEntry: false })?.mtimeMs
    if (updateMs === undefined) continue
    if (updateMs !== lastUpdateMs) {
      if (lastUpdateMs === undefined) process.stderr.write('Waiting for another build of Fanfare …\n')
      lastUpdateMs = updateMs
      seenAtMs = performance.now()
    } else if (performance.now() - seenAtMs > LOCK_ABANDONED_MS) {
      remove(LOCK)
    }
    await delay(POLL_MS)
  }
}

/** @returns {Promise<number>} the exit code */
async function main() {
  const why = reasonToBuild(hashInputs(listSources()))
  if (why === undefined) return 0
  if (!existsSync(COMPILER)) {
    process.stderr.write(`Not building Fanfare (${why}): npm ci without --omit=dev installs the compiler.\n`)
    return process.argv.includes('--if-possible') ? 0 : 1
  }
  await acquireLock()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, interrupt)
  const refreshTimer = setInterval(() => utimesSync(LOCK, new Date(), new Date()), LOCK_REFRESH_MS)
  try {
    removeLeftovers()
    const sources = listSources()
    const inputs = hashInputs(sources)
    const reason = reasonToBuild(inputs)
    // Another process may have built in the meantime.
    if (reason === undefined) return 0
    process.stderr.write(`Building Fanfare (${reason}) …\n`)
    return await build(sources, inputs)
  } finally {
    clearInterval(refreshTimer)
    releaseLock()
  }
}

process.exitCode = await main()
