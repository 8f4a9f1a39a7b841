import { errors } from '../protocol/errors.js'
import { type ApiReply, errorReply } from './api-replies.js'
import { type ApiBody, type ApiMethod, isApiMethod } from './api-schemas.js'

/**
 * Time after which the remaining commands of a batch are not started. Without it a batch could take a thousand times as
 * long as one command: each may wait for Redis or for a node as long as it may alone.
 */
const MAX_BATCH_MS = 10_000

/** The methods that a batch may contain: all but `batch` itself. */
export type BatchedMethod = Exclude<ApiMethod, 'batch'>

/** Runs commands one after the other, or all at once. A command that fails stops no other. */
export async function runBatch(
  { commands, parallel }: ApiBody<'batch'>,
  run: (method: BatchedMethod, body: unknown) => Promise<ApiReply>,
): Promise<{ replies: readonly unknown[] }> {
  const startMs = performance.now()
  const reply = async (command: Readonly<Record<string, unknown>>) => {
    const [[method, body] = ['', undefined]] = Object.entries(command)
    if (!isApiMethod(method)) return errorReply(errors.methodNotFound(JSON.stringify(method.slice(0, 100))))
    if (method === 'batch') return errorReply(errors.badRequest('a batch must not contain another'))
    if (performance.now() - startMs > MAX_BATCH_MS) {
      return errorReply(errors.internal(`not done: the batch took longer than ${MAX_BATCH_MS / 1_000} s`))
    }
    const replied = await run(method, body)
    return 'error' in replied ? replied : { [method]: replied.result }
  }
  if (parallel) return { replies: await Promise.all(commands.map(reply)) }
  const replies: unknown[] = []
  for (const command of commands) replies.push(await reply(command))
  return { replies }
}
