import { readdirSync, readFileSync } from 'node:fs'
import { ROOT } from './repository.js'

/** A row of a table: its cells, and the line of the page that it is on. */
export interface TableRow {
  readonly line: number
  readonly cells: readonly string[]
}

/** A fenced block: the word behind its fence, its content, and the line of the fence. */
export interface Fence {
  readonly language: string
  readonly content: string
  readonly line: number
}

/** A Markdown page of the repository. Its methods throw an error that names the file for what they do not find. */
export class Page {
  constructor(
    /** From the root of the repository. */
    readonly path: string,
    readonly text = readFileSync(`${ROOT}${path}`, 'utf8'),
  ) {}

  get lines(): readonly string[] {
    return this.text.split('\n')
  }

  /** The names of its sections. */
  get sections(): readonly string[] {
    return [...this.text.matchAll(/^<!-- ([\w-]+) -->$/gm)].map(([, name = '']) => name)
  }

  /** `docs/settings.md:12` */
  at(line: number): string {
    return `${this.path}:${line}`
  }

  /** Where a section begins, for the message of a check that fails. */
  where(name: string): string {
    return `${this.at(this.lineOf(`<!-- ${name} -->`))} (section ${name})`
  }

  /** The text between `<!-- name -->` and `<!-- /name -->`. */
  section(name: string): string {
    const content = this.text.split(`<!-- ${name} -->\n`)[1]?.split(`<!-- /${name} -->`)[0]
    if (content === undefined) throw new Error(`${this.path} has no section ${name}`)
    return content
  }

  /** The rows of the table in a section, without its head. */
  rows(name: string): readonly TableRow[] {
    const first = this.lineOf(`<!-- ${name} -->`) + 1
    return this.section(name)
      .trimEnd()
      .split('\n')
      .map((text, index) => ({ line: first + index, cells: cellsOf(text) }))
      .slice(2)
  }

  /** The code in a section, which is one fenced block. */
  code(name: string): string {
    const code = /^```\w+\n([\s\S]*?)```\n$/.exec(this.section(name))?.[1]
    if (code === undefined) throw new Error(`${this.where(name)} is not one fenced block`)
    return code
  }

  get fences(): readonly Fence[] {
    return [...this.text.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].map(
      ({ index, 1: language = '', 2: content = '' }) => ({ language, content, line: this.lineAt(index) }),
    )
  }

  /** The page with its fenced blocks emptied, so that lines keep their numbers. */
  get prose(): string {
    return this.text.replace(/^```[\s\S]*?^```$/gm, (block) => block.replace(/[^\n]/g, ''))
  }

  private lineOf(line: string): number {
    const index = this.lines.indexOf(line)
    if (index < 0) throw new Error(`${this.path} has no line ${line}`)
    return index + 1
  }

  private lineAt(offset: number): number {
    return this.text.slice(0, offset).split('\n').length
  }
}

/** The cells of a row; a pipe in a cell is written `\|`. */
function cellsOf(row: string): readonly string[] {
  return row
    .split(/(?<!\\)\|/)
    .slice(1, -1)
    .map((cell) => cell.trim())
}

/** The texts in backquotes, in order. */
export function codesIn(text: string): readonly string[] {
  return [...text.matchAll(/`([^`]+)`/g)].map(([, code = '']) => code)
}

/** The paths of the pages in docs/. */
export function docsPaths(): readonly string[] {
  return readdirSync(`${ROOT}docs`)
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`)
    .sort()
}

/** The paths of every page of the documentation. */
export function pagePaths(): readonly string[] {
  const others = ['README.md', 'CONTRIBUTING.md', 'SECURITY.md', 'CHANGELOG.md']
  return [...others, 'deploy/README.md', 'deploy/local/README.md', 'load/README.md', ...docsPaths()]
}
