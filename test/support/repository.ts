import { fileURLToPath } from 'node:url'

/** The root directory of the repository with a slash at its end, seen from the sources and from dist/ alike. */
export const ROOT = fileURLToPath(
  new URL(import.meta.url.includes('/dist/') ? '../../../' : '../../', import.meta.url),
)
