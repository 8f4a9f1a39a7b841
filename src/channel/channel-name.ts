/** The longest channel name, in bytes. */
export const MAX_CHANNEL_NAME_BYTES = 255

/** What is wrong with a channel name. Undefined for a valid one: 1 to 255 bytes of printable ASCII. */
export function channelNameProblem(name: string): string | undefined {
  if (name === '') return 'a channel name must not be empty'
  if (!/^[\x20-\x7e]*$/.test(name)) return 'a channel name must be printable ASCII'
  if (name.length > MAX_CHANNEL_NAME_BYTES) {
    return `a channel name must have at most ${MAX_CHANNEL_NAME_BYTES} bytes, this one has ${name.length}`
  }
  return undefined
}
