import { settingsMarkdown } from '../../src/config/describe.js'
import { TABLES } from '../faults/describe.js'

/** A section of a page that is generated from the code. */
export interface GeneratedSection {
  readonly path: string
  readonly section: string
  readonly content: () => string
}

export const GENERATED_SECTIONS: readonly GeneratedSection[] = [
  { path: 'docs/settings.md', section: 'settings', content: () => `${settingsMarkdown()}\n` },
  ...Object.entries(TABLES).map(([section, content]) => ({ path: 'docs/faults.md', section, content })),
]
