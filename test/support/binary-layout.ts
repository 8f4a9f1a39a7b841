import { codesIn, type Page } from './page.js'

/** A field of a binary form, as a row of a table documents it. */
interface Field {
  readonly at: string
  /** Its offset: a sum of numbers and of the letters of lengths. */
  readonly offset: string
  readonly name: string
  readonly type: string
  /** Its length: a number, the letter of a length, or `rest`. */
  readonly bytes: string
  readonly present: string
  readonly value: string
}

export interface DecodedFields {
  readonly [name: string]: number | string | Buffer | undefined
}

/** Decodes bytes by a documented table, to check that the table is right. */
export class BinaryLayout {
  private readonly fields: readonly Field[]

  constructor(page: Page, section: string) {
    this.fields = page.rows(section).map(({ line, cells }) => {
      const [offset = '', name = '', type = '', bytes = '', present = '', value = ''] = cells
      return { at: page.at(line), offset, name, type, bytes, present, value }
    })
  }

  /** The numbers that the value cell of a field documents, by their word: `1 publication, 2 join`. */
  meanings(name: string): ReadonlyMap<string, number> {
    const value = this.fields.find((field) => field.name === name)?.value ?? ''
    return new Map([...value.matchAll(/(\d+) (\w+)/g)].map(([, number, word = '']) => [word, Number(number)]))
  }

  /** Decodes bytes. Throws for a field that is not at its documented offset. */
  decode(bytes: Buffer): DecodedFields {
    const decoded: Record<string, number | string | Buffer | undefined> = {}
    const lengths = new Map<string, number>()
    let at = 0
    let isComplete = true
    for (const field of this.fields) {
      if (!isPresent(field, decoded, lengths)) {
        isComplete = false
        continue
      }
      const documented = sum(field.offset, lengths)
      if (isComplete && documented !== at)
        throw new Error(`${field.at}: the offset is ${at}, not ${documented}`)
      const end = field.bytes === 'rest' ? bytes.length : at + sum(field.bytes, lengths)
      if (end > bytes.length) throw new Error(`${field.at}: the bytes end before ${field.name} does`)
      const value = read(field, bytes.subarray(at, end))
      decoded[field.name] = value
      const [letter] = codesIn(field.value).filter((code) => /^[A-Z]$/.test(code))
      if (letter !== undefined) lengths.set(letter, Number(value))
      at = end
    }
    if (at !== bytes.length) throw new Error(`${bytes.length - at} bytes are left that no field is for`)
    return decoded
  }
}

function isPresent(
  { at, present }: Field,
  decoded: DecodedFields,
  lengths: ReadonlyMap<string, number>,
): boolean {
  if (present === 'always') return true
  if (present === 'with an epoch') return (lengths.get('E') ?? 0) > 0
  const flag = /^flag (\d+)$/.exec(present)?.[1]
  if (flag === undefined) throw new Error(`${at}: no check knows when “${present}” is`)
  return (Number(decoded['flags']) & Number(flag)) !== 0
}

function sum(terms: string, lengths: ReadonlyMap<string, number>): number {
  return terms
    .split(' + ')
    .map((term) => lengths.get(term) ?? Number(term))
    .reduce((total, term) => total + term, 0)
}

function read({ at, type }: Field, bytes: Buffer): number | string | Buffer {
  switch (type) {
    case 'uint8':
      return bytes.readUInt8()
    case 'uint32':
      return bytes.readUInt32BE()
    case 'float64':
      return bytes.readDoubleBE()
    case 'ascii':
      return bytes.toString('latin1')
    case 'json':
      return JSON.stringify(JSON.parse(bytes.toString()))
    case 'bytes':
      return bytes
    default:
      throw new Error(`${at}: no check knows the type ${type}`)
  }
}
