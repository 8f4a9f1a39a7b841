/**
 * An error in how the command was used, which no retry mends: exit code 2. The message has one or more lines, for the
 * operator who typed the command.
 */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}
