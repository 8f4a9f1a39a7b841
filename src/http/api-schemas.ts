import { z } from 'zod'
import { channelNameProblem } from '../channel/channel-name.js'

/** Channels that one broadcast may name. */
const MAX_BROADCAST_CHANNELS = 1_000

const channel = z.string().superRefine((name, context) => {
  const problem = channelNameProblem(name)
  if (problem !== undefined) context.addIssue({ code: 'custom', message: problem })
})
/** Any JSON value. */
const data = z.unknown().refine((value) => value !== undefined, 'is required')
/** A client's id. */
const exclude = z.string().max(255).optional()

/** Bodies of the server API, by method. */
export const API_SCHEMAS = {
  publish: z.strictObject({ channel, data, exclude }),
  broadcast: z.strictObject({ channels: z.array(channel).min(1).max(MAX_BROADCAST_CHANNELS), data, exclude }),
  info: z.strictObject({}),
  channels: z.strictObject({ pattern: z.string().max(255).default('*') }),
} as const

export type ApiMethod = keyof typeof API_SCHEMAS
export type ApiBody<M extends ApiMethod> = z.infer<(typeof API_SCHEMAS)[M]>

export function isApiMethod(name: string): name is ApiMethod {
  return Object.hasOwn(API_SCHEMAS, name)
}
