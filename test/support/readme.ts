import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

export const README_PATH = fileURLToPath(
  new URL(import.meta.url.includes('/dist/') ? '../../../README.md' : '../../README.md', import.meta.url),
)

export function readme(): string {
  return readFileSync(README_PATH, 'utf8')
}

/** What stands between `<!-- name -->` and `<!-- /name -->`. */
export function section(name: string, text = readme()): string {
  const content = text.split(`<!-- ${name} -->\n`)[1]?.split(`<!-- /${name} -->`)[0]
  if (content === undefined) throw new Error(`the README has no section ${name}`)
  return content
}

/** The cells of a Markdown table, without its head. */
export function tableRows(table: string): string[][] {
  const rows = table.trim().split('\n').slice(2)
  return rows.map((row) =>
    row
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  )
}
