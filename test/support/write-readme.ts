import { writeFileSync } from 'node:fs'
import { settingsMarkdown } from '../../src/config/describe.js'
import { README_PATH, readme, section } from './readme.js'

/** Writes the table of settings into the README: `npm run readme`. */
const text = readme()
const marked = (content: string) => `<!-- settings -->\n${content}<!-- /settings -->`
writeFileSync(README_PATH, text.replace(marked(section('settings', text)), marked(`${settingsMarkdown()}\n`)))
