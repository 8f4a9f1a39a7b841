import type * as Uws from 'uWebSockets.js'
import { createRequire } from 'node:module'
import { errorMessage } from '../../error-message.js'
import type { UwsLibrary } from './library.js'

declare module 'uWebSockets.js' {
  interface TemplatedApp {
    /** With a host, the library takes options too; its own types leave that out. */
    listen(
      host: Uws.RecognizedString,
      port: number,
      options: Uws.ListenOptions,
      listening: (listenSocket: Uws.us_listen_socket | false) => void,
    ): TemplatedApp
  }
}

/** Whether other processes may listen on a port too. */
export const LISTEN = { shared: 0, exclusive: 1 } as const satisfies Record<string, Uws.ListenOptions>

/**
 * Limit of the headers of a request that arrives in several segments. The library's default of 4 KiB would refuse large
 * cookies and tokens, depending on how the network splits a request.
 */
const MAX_HEADER_BYTES = 16 * 1024

/** The part of Node's diagnostic report that names the system's glibc. */
interface ReportHeader {
  header?: { glibcVersionRuntime?: string }
}

/** The Node versions that the binaries were built for, newest last, and the glibc that each needs. */
const BUILDS = [
  { nodeMajor: 20, glibc: '2.27' },
  { nodeMajor: 22, glibc: '2.38' },
  { nodeMajor: 24, glibc: '2.38' },
  { nodeMajor: 25, glibc: '2.38' },
] as const

function isAtLeast(version: string, least: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const [leastMajor = 0, leastMinor = 0] = least.split('.').map(Number)
  return major > leastMajor || (major === leastMajor && minor >= leastMinor)
}

/** Explains in one line which versions of Node fit this system, in place of the loader's stack trace. */
export function explainLoadFailure(nodeVersion: string, glibc: string | undefined, cause: string): string {
  const running = `${process.platform} ${process.arch} with Node ${nodeVersion}`
  const fitting = BUILDS.filter((build) => glibc !== undefined && isAtLeast(glibc, build.glibc))
  if (process.platform !== 'linux' || fitting.length === 0) {
    return `uWebSockets.js has no binary for ${running}: ${cause}`
  }
  const majors = fitting.map((build) => build.nodeMajor)
  // The versions fit, so that the failure has another cause.
  if (majors.some((major) => String(major) === nodeVersion.split('.')[0])) {
    return `uWebSockets.js cannot be loaded on ${running}: ${cause}`
  }
  return `uWebSockets.js has no binary that runs with Node ${nodeVersion} and glibc ${glibc}; use Node ${majors.join(', ')} on this system`
}

/** Loads the native library. Throws an error whose one-line message names what would fit where it can't be loaded. */
export function loadUws(): UwsLibrary {
  // The library reads it once, when it is loaded.
  process.env['UWS_HTTP_MAX_HEADERS_SIZE'] ??= String(MAX_HEADER_BYTES)
  try {
    return createRequire(import.meta.url)('uWebSockets.js') as typeof Uws
  } catch (error) {
    const { header } = process.report.getReport() as ReportHeader
    const cause = errorMessage(error).replace(/\s+/g, ' ')
    const message = explainLoadFailure(process.versions.node, header?.glibcVersionRuntime, cause)
    throw new Error(message, { cause: error })
  }
}
