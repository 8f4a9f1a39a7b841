// @ts-check
/**
 * Compiles the sources into dist/, unless dist/ was made from just these: `npm run build`, and before `npm start`,
 * `npm run load` and `npm run readme`. After `npm ci` (the script `postprepare`) it runs with --if-possible.
 *
 * dist/ is replaced as a whole, after a compiler without errors: a process that starts finds one build and never half of
 * one, and mistakes in the sources leave the last good build. Processes that build at once take turns, the later ones
 * find the work done. A node that runs while dist/ is replaced has loaded its modules before; a supervisor starts later
 * workers from the new build, so it is stopped and started again after a change of what it and its workers tell each other.
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
/** Where this process builds, and where it moves what it replaces: beside dist/, because a rename needs one file system. */
const NEXT = `${DIST}.next-${process.pid}`
const LAST = `${DIST}.last-${process.pid}`
const COMPILER = join(TOP, 'node_modules/typescript/bin/tsc')

/** Says in dist/ what it was made from. */
const INPUTS_FILE = 'inputs.json'
/** What the compiler knows of the files it compiled last, so that it compiles only what changed. */
const COMPILER_STATE = 'tsconfig.tsbuildinfo'

/** A process that builds shows by the lock's time that it is alive. */
const ALIVE_EVERY_MS = 1_000
/** A lock without a sign for so long was left by a process that was killed. */
const ABANDONED_AFTER_MS = 10_000
const POLL_MS = 50

/** @type {number | undefined} The compiler's process group. */
let compiler

/** Sources: what tsconfig.json includes, and whatever else lies in src/, for example Lua. Paths from the top, with `/`. */
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
 * What dist/ holds for a source; what is not compiled is copied from src/.
 * @param {string} source
 */
function outputsOf(source) {
  if (isCompiled(source)) return [source.replace(/ts$/, 'js'), source.replace(/ts$/, 'd.ts')]
  return source.startsWith('src/') ? [source] : []
}

/**
 * What a build depends on, each with a hash of its content. The compiler and the types of dependencies are not among it
 * where they are not installed.
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

/** @returns {Map<string, string> | undefined} What dist/ was made from; undefined where it is missing or incomplete. */
function lastInputs() {
  const text = readIfThere(join(DIST, INPUTS_FILE))
  if (text === undefined) return undefined
  /** @type {Record<string, string>} */
  const inputs = JSON.parse(text)
  const outputs = Object.keys(inputs).flatMap(outputsOf)
  return outputs.every((output) => existsSync(join(DIST, output)))
    ? new Map(Object.entries(inputs))
    : undefined
}

/**
 * Another process may replace dist/ at any moment.
 * @param {string} path
 */
function readIfThere(path) {
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
 * Why dist/ has to be built, in words; undefined where it has not.
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
 * Compiles into a folder beside dist/ and puts that in its place.
 * @param {string[]} sources
 * @param {Map<string, string>} inputs
 */
async function build(sources, inputs) {
  const outputs = sources.flatMap(outputsOf)
  const copied = new Set(sources.filter((source) => !isCompiled(source) && outputs.includes(source)))
  // The compiler writes only what changed. Without the outputs of sources that are gone, the next build is without them.
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
  // A process group of its own: the compiler's launcher would end without the compiler itself.
  const started = spawn(process.execPath, [COMPILER, ...args], {
    cwd: TOP,
    stdio: ['ignore', 2, 2],
    detached: true,
  })
  compiler = started.pid
  return new Promise((resolve, reject) => {
    started.once('error', reject)
    started.once('exit', (code) => {
      compiler = undefined
      resolve(code === 0)
    })
  })
}

/**
 * Tries again where a compiler that was killed has just written something.
 * @param {string} path
 */
function remove(path) {
  rmSync(path, { recursive: true, force: true, maxRetries: 5 })
}

/** Removes what this build, or one that was killed, put beside dist/. */
function removeLeftovers() {
  for (const name of readdirSync(TOP)) {
    if (/^dist\.(next|last)-/.test(name)) remove(join(TOP, name))
  }
}

function endTurn() {
  removeLeftovers()
  remove(LOCK)
}

function interrupt() {
  if (compiler !== undefined) process.kill(-compiler, 'SIGKILL')
  endTurn()
  process.exit(1)
}

/** Waits until this process is the one that builds. */
async function takeTurn() {
  /** @type {number | undefined} */
  let sign
  let signedAt = 0
  for (;;) {
    try {
      mkdirSync(LOCK)
      return
    } catch (error) {
      if (!hasCode(error, 'EEXIST')) throw error
    }
    const lastSign = statSync(LOCK, { throwIfNoEntry: false })?.mtimeMs
    if (lastSign === undefined) continue
    if (lastSign !== sign) {
      if (sign === undefined) process.stderr.write('Waiting for another build of Fanfare …\n')
      sign = lastSign
      signedAt = performance.now()
    } else if (performance.now() - signedAt > ABANDONED_AFTER_MS) {
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
  await takeTurn()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, interrupt)
  const alive = setInterval(() => utimesSync(LOCK, new Date(), new Date()), ALIVE_EVERY_MS)
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
    clearInterval(alive)
    endTurn()
  }
}

process.exitCode = await main()
