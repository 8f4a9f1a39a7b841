import { z } from 'zod'
import { MAX_LISTED_CHANNELS, nodeInfo } from '../node/survey-answers.js'
import type { ApiMethod } from './api-schemas.js'

const anyJson = z.unknown().meta({ description: 'Any JSON value.' })

export const clientInfo = z.object({
  client: z.string(),
  user: z.string(),
  conn_info: anyJson.optional(),
  chan_info: anyJson.optional(),
})

export const publication = z.object({
  data: z.unknown().meta({ description: 'JSON; what was binary is {"base64": "…"}.' }),
  info: clientInfo.optional(),
  offset: z.int().min(0),
  tags: z.record(z.string(), z.string()).optional(),
  time: z.int().meta({ description: 'When it was published, in Unix milliseconds.' }),
})

export const apiError = z.object({
  code: z.int(),
  message: z.string(),
  temporary: z.literal(true).optional().meta({ description: 'Whether the same request may succeed later.' }),
})

const published = z.object({
  offset: z.int().optional().meta({ description: 'Where the channel keeps history.' }),
  epoch: z.string().optional(),
})
const missing_nodes = z
  .array(z.string())
  .optional()
  .meta({ description: 'Nodes that are thought alive and did not answer in time.' })
const controlled = z.object({
  num_clients: z.int().min(0).meta({ description: 'Connections that it was done to.' }),
  missing_nodes,
})

/** The results of the server API, by method. They are the source of the OpenAPI description and of `ApiResult`. */
export const API_RESULTS = {
  publish: published,
  broadcast: z.object({
    responses: z
      .array(z.union([z.object({ result: published }), z.object({ error: apiError })]))
      .meta({ description: 'One a channel, in the order of the channels.' }),
  }),
  subscribe: controlled,
  unsubscribe: controlled,
  disconnect: controlled,
  refresh: controlled,
  presence: z.object({ presence: z.record(z.string(), clientInfo) }),
  presence_stats: z.object({ num_clients: z.int().min(0), num_users: z.int().min(0) }),
  history: z.object({ publications: z.array(publication), offset: z.int().min(0), epoch: z.string() }),
  history_remove: z.object({}),
  channels: z.object({
    channels: z.record(z.string(), z.object({ num_clients: z.int().min(1) })),
    truncated: z
      .literal(true)
      .optional()
      .meta({ description: `A node has more than ${MAX_LISTED_CHANNELS} such channels and left some out.` }),
    missing_nodes,
  }),
  info: z.object({ nodes: z.array(nodeInfo), missing_nodes }),
  batch: z.object({
    replies: z.array(z.record(z.string(), z.unknown())).meta({
      description: 'One a command, in their order: the method and its result, or error and what it is.',
    }),
  }),
} as const satisfies Record<ApiMethod, z.ZodType>

export type ApiResult<M extends ApiMethod> = z.infer<(typeof API_RESULTS)[M]>
