import { writeFileSync } from 'node:fs'
import { GENERATED_SECTIONS } from './generated-sections.js'
import { Page } from './page.js'
import { ROOT } from './repository.js'

/** Writes the generated sections of the documentation: `npm run docs`. */
for (const { path, section, content } of GENERATED_SECTIONS) {
  const page = new Page(path)
  const marked = (text: string) => `<!-- ${section} -->\n${text}<!-- /${section} -->`
  writeFileSync(
    `${ROOT}${path}`,
    page.text.replace(marked(page.section(section)), () => marked(content())),
  )
}
