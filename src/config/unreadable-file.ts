/** Why a file of the configuration cannot be read, for the operator: the code of the system is shorter than its message. */
export function unreadableFile(path: string, error: unknown): string {
  const why = error instanceof Error && 'code' in error ? String(error.code) : 'unreadable'
  return `cannot read ${path} (${why})`
}
