import { readdirSync, readFileSync } from 'node:fs'
import { ROOT } from './repository.js'

/** The TypeScript files of src/, from the root of the repository. */
export const SOURCE_PATHS: readonly string[] = readdirSync(`${ROOT}src`, { recursive: true })
  .map((name) => `src/${String(name)}`)
  .filter((path) => path.endsWith('.ts'))
  .sort()

const sources = new Map(SOURCE_PATHS.map((path) => [path, readFileSync(`${ROOT}${path}`, 'utf8')]))

/** The text of a file of src/. */
export function sourceOf(path: string): string {
  const source = sources.get(path)
  if (source === undefined) throw new Error(`${path} does not exist`)
  return source
}

/** The file and the text of the class or interface of this name; undefined where src/ has none. */
function typeDeclaration(name: string): { path: string; text: string } | undefined {
  const start = new RegExp(`^(?:export )?(?:abstract )?(?:class|interface) ${name}\\b`, 'm')
  for (const [path, source] of sources) {
    const index = start.exec(source)?.index
    if (index !== undefined) return { path, text: source.slice(index).split(/^\}/m)[0] ?? '' }
  }
  return undefined
}

function declaresField(text: string, name: string): boolean {
  const modifiers = '(?:(?:private|protected|public|readonly|static|abstract|override|async|get) )*'
  return new RegExp(`^ +${modifiers}${name}\\??(?:<.*>)?[(:= ]`, 'm').test(text)
}

/** The file that declares a class or an interface. Throws where src/ has none. */
export function pathOfType(name: string): string {
  const declaration = typeDeclaration(name)
  if (declaration === undefined) throw new Error(`src/ has no class or interface ${name}`)
  return declaration.path
}

/** Whether src/ declares a name: a class, an interface, a type, a function, a constant or a field; `Hub.receive` of a type. */
export function isDeclared(name: string): boolean {
  const [first = '', field] = name.split('.')
  if (field !== undefined) return declaresField(typeDeclaration(first)?.text ?? '', field)
  const declared = new RegExp(
    `^(?:export )?(?:abstract )?(?:async )?(?:class|interface|type|function|const) ${first}\\b`,
    'm',
  )
  return [...sources.values()].some((source) => declared.test(source) || declaresField(source, first))
}
