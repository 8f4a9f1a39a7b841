import { type Mock, vi } from 'vitest'
import { ROOT } from './repository.js'
import { pathOfType } from './source-names.js'

/** Spies on methods by their names. Returns a function that lists those called for the channel, in their order. */
export async function spyOnMethods(
  names: readonly string[],
  channel: string,
): Promise<() => readonly string[]> {
  const spies = await Promise.all(
    names.map(async (name): Promise<[string, Mock]> => {
      const [type = '', method = ''] = name.split('.')
      const module = (await import(`${ROOT}${pathOfType(type)}`)) as Record<string, { prototype: object }>
      return [name, vi.spyOn(module[type]?.prototype as Record<string, () => unknown>, method)]
    }),
  )
  /** Whether a call is about another channel of Redis, such as a node's probe. */
  const isForeign = ([first]: readonly unknown[]) => {
    const text = Buffer.isBuffer(first) || typeof first === 'string' ? String(first) : ''
    return text.startsWith('fanfare:') && !text.endsWith(`:${channel}`)
  }
  return () =>
    spies
      .flatMap(([name, { mock }]) => {
        const index = mock.calls.findIndex((call) => !isForeign(call))
        return index < 0 ? [] : [{ name, order: mock.invocationCallOrder[index] ?? 0 }]
      })
      .sort((a, b) => a.order - b.order)
      .map(({ name }) => name)
}
