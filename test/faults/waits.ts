const POLL_MS = 50

/** Polls a condition that no event tells. Rejects with its name when it takes too long. */
export async function until(
  isTrue: () => Promise<boolean> | boolean,
  what: string,
  timeoutMs: number,
): Promise<void> {
  const giveUpAtMs = performance.now() + timeoutMs
  while (!(await isTrue())) {
    if (performance.now() > giveUpAtMs) throw new Error(`never came true in ${timeoutMs} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
}

/** Rejects with what did not happen when a promise takes too long. */
export async function within(promise: Promise<void>, ms: number, what: string): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} within ${ms} ms`)), ms)
  })
  try {
    await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}
