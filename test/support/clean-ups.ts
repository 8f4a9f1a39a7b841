const cleanUps: (() => unknown)[] = []

/** To be done after the test that runs now. */
export function afterThisTest(cleanUp: () => unknown): void {
  cleanUps.push(cleanUp)
}

/** For `afterEach`: last started, first ended. */
export async function cleanUp(): Promise<void> {
  for (const step of cleanUps.splice(0).reverse()) await step()
}
