const cleanUps: (() => unknown)[] = []

/** Registers a step that runs after the current test. */
export function afterThisTest(cleanUp: () => unknown): void {
  cleanUps.push(cleanUp)
}

/** Runs the registered steps, the last one first. For `afterEach`. */
export async function cleanUp(): Promise<void> {
  for (const step of cleanUps.splice(0).reverse()) await step()
}
