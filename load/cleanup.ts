/** What a run started and has to end: last started, first ended, each once, whatever happens. */
export class Cleanup {
  /** Whether it has begun: while a scenario still runs, that is an interruption. */
  hasBegun = false
  private readonly steps: (() => Promise<unknown>)[] = []

  defer(step: () => Promise<unknown>): void {
    this.steps.push(step)
  }

  async run(): Promise<void> {
    this.hasBegun = true
    for (let step = this.steps.pop(); step !== undefined; step = this.steps.pop()) {
      try {
        await step()
      } catch (error) {
        console.error(error instanceof Error ? error.message : error)
      }
    }
  }
}
