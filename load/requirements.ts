/** One thing that a benchmark demands of what it has measured. */
export interface Requirement {
  text: string
  isMet: boolean
  /** Whether a smoke run has to meet it too: it is too short for sizes and ratios. */
  appliesToSmoke: boolean
}

/** Prints a line for each requirement; returns the exit code: 1 when one that applies is not met, else 0. */
export function reportRequirements(requirements: readonly Requirement[], isSmoke: boolean): number {
  const applying = requirements.filter(({ appliesToSmoke }) => appliesToSmoke || !isSmoke)
  for (const requirement of requirements) {
    const outcome = !applying.includes(requirement) ? 'note' : requirement.isMet ? 'pass' : 'FAIL'
    console.log(`${outcome}  ${requirement.text}`)
  }
  return applying.every(({ isMet }) => isMet) ? 0 : 1
}
