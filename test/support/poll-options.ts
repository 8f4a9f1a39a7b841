/** The timeout of polls: a little below the timeout of a test, so that the failure names the condition. */
export const POLL_OPTIONS = { timeout: 100_000 }
