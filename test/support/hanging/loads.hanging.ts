import { it } from 'vitest'

it('is never reached', () => undefined)
for (;;);
