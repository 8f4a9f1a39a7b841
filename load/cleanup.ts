/** What a run started and has to end: last started, first ended, each once, whatever happens. */
export class Cleanup {
  private readonly steps: (() => Promise<unknown>)[] = []

  defer(step: () => Promise<unknown>): void {
    this.steps.push(step)
  }

  async run(): Promise<void> {
    for (let step = this.steps.pop(); step !== undefined; step = this.steps.pop()) {
      try {
        await step()
      } catch (error) {
        console.error(error instanceof Error ? error.message : error)
      }
    }
  }
}
