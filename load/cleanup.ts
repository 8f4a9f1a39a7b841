import { errorMessage } from '../src/error-message.js'

/** Ends what a run has started: each once, in reverse order, also after an error or an interruption. */
export class Cleanup {
  /** Whether `run` was called: while a scenario is still running, it was interrupted. */
  hasBegun = false
  private readonly steps: (() => Promise<unknown>)[] = []

  defer(step: () => Promise<unknown>): void {
    this.steps.push(step)
  }

  /** Runs every step, and prints the errors of those that fail. */
  async run(): Promise<void> {
    this.hasBegun = true
    for (let step = this.steps.pop(); step !== undefined; step = this.steps.pop()) {
      try {
        await step()
      } catch (error) {
        console.error(errorMessage(error))
      }
    }
  }
}
