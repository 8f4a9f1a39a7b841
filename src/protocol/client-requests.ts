import { z } from 'zod'
import { JsonText } from './json-text.js'

/** The largest id of a command: ids are uint32 and chosen by the client. */
export const MAX_COMMAND_ID = 2 ** 32 - 1

const text = z.string().default('')
const flag = z.boolean().default(false)
const offset = z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER).default(0)
const channel = z.string()
/** Any JSON value; undefined where the client sent none. */
const data = z.unknown().optional()

const subscribe = z.object({
  channel,
  token: text,
  recover: flag,
  epoch: text,
  offset,
  data,
  positioned: flag,
  recoverable: flag,
  join_leave: flag,
})

/** The requests of clients, by the command's name. Unknown fields are ignored: SDKs are newer than servers. */
export const CLIENT_REQUESTS = {
  connect: z.object({
    token: text,
    data,
    subs: z.record(z.string(), subscribe.omit({ channel: true })).optional(),
    name: text,
    version: text,
  }),
  subscribe,
  unsubscribe: z.object({ channel }),
  publish: z.object({ channel, data: z.instanceof(JsonText, { message: 'is required' }) }),
  presence: z.object({ channel }),
  presence_stats: z.object({ channel }),
  history: z.object({
    channel,
    limit: z.number().int().min(-1).default(0),
    since: z.object({ offset, epoch: text }).optional(),
    reverse: flag,
  }),
  ping: z.object({}),
  send: z.object({ data }),
  rpc: z.object({ method: text, data }),
  refresh: z.object({ token: text }),
  sub_refresh: z.object({ channel, token: text }),
} as const

export type CommandName = keyof typeof CLIENT_REQUESTS
export type ClientRequest<N extends CommandName> = z.infer<(typeof CLIENT_REQUESTS)[N]>

/** A command that was read and checked. The id is 0 where the client expects no reply. */
export type ClientCommand<N extends CommandName = CommandName> = {
  [K in N]: { readonly id: number; readonly name: K; readonly request: ClientRequest<K> }
}[N]

export const COMMAND_NAMES = Object.keys(CLIENT_REQUESTS) as CommandName[]
