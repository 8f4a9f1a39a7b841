import { writeFileSync } from 'node:fs'
import { GENERATED_SECTIONS } from './generated-sections.js'
import { Page, TOP } from './page.js'

/** Writes the sections of the documentation that come from the code: `npm run docs`. */
for (const { path, section, content } of GENERATED_SECTIONS) {
  const page = new Page(path)
  const marked = (text: string) => `<!-- ${section} -->\n${text}<!-- /${section} -->`
  writeFileSync(
    `${TOP}${path}`,
    page.text.replace(marked(page.section(section)), () => marked(content())),
  )
}
