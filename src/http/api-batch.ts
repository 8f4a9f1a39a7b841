import { errors } from '../protocol/errors.js'
import { errorAnswer } from './api-errors.js'
import { type ApiBody, type ApiMethod, isApiMethod } from './api-schemas.js'

/** After which the rest of a batch is not begun: each command may wait for Redis or for a node as long as it may alone. */
const MAX_BATCH_MS = 10_000

/** What one call is answered with. */
export type ApiReply = { readonly result: unknown } | ReturnType<typeof errorAnswer>
export type BatchedMethod = Exclude<ApiMethod, 'batch'>

/** Runs commands one after the other, or all at once. A failed one keeps no other from being run. */
export async function runBatch(
  { commands, parallel }: ApiBody<'batch'>,
  run: (method: BatchedMethod, body: unknown) => Promise<ApiReply>,
): Promise<{ replies: readonly unknown[] }> {
  const startMs = performance.now()
  const reply = async (command: Readonly<Record<string, unknown>>) => {
    const [[method, body] = ['', undefined]] = Object.entries(command)
    if (!isApiMethod(method)) return errorAnswer(errors.methodNotFound(JSON.stringify(method.slice(0, 100))))
    if (method === 'batch') return errorAnswer(errors.badRequest('a batch must not contain another'))
    if (performance.now() - startMs > MAX_BATCH_MS) {
      return errorAnswer(errors.internal(`not done: the batch took longer than ${MAX_BATCH_MS / 1_000} s`))
    }
    const replied = await run(method, body)
    return 'error' in replied ? replied : { [method]: replied.result }
  }
  if (parallel) return { replies: await Promise.all(commands.map(reply)) }
  const replies: unknown[] = []
  for (const command of commands) replies.push(await reply(command))
  return { replies }
}
