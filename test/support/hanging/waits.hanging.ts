import { it } from 'vitest'

it('waits for ever', () => new Promise(() => undefined))
