import { z } from 'zod'
import { channelNameProblem } from '../channel/channel-name.js'
import { DISCONNECTS, MAX_REASON_BYTES } from '../protocol/closes.js'

/** Channels that one broadcast may name. */
const MAX_BROADCAST_CHANNELS = 1_000
/** Commands of one batch. */
const MAX_BATCH_COMMANDS = 1_000
/** Clients that a disconnect may leave connected. */
const MAX_WHITELIST = 1_000
const MAX_TAGS = 32
/** Of ids, patterns and the like: the same limit as for channel names. */
const MAX_TEXT_BYTES = 255
/** Of a user's id: MAX_USER_LENGTH characters of a token, of at most four bytes each. */
const MAX_USER_BYTES = 1_024

function text(maxBytes: number) {
  return z
    .string()
    .refine((value) => Buffer.byteLength(value) <= maxBytes, `must have at most ${maxBytes} bytes`)
    .meta({ maxLength: maxBytes })
}

const channel = z
  .string()
  .superRefine((name, context) => {
    const problem = channelNameProblem(name)
    if (problem !== undefined) context.addIssue({ code: 'custom', message: problem })
  })
  .meta({ description: '1 to 255 bytes of printable ASCII.' })
const data = z
  .unknown()
  .refine((value) => value !== undefined, 'is required')
  .meta({ description: 'Any JSON value.' })
const unixSeconds = z.int().min(0)

const position = z.strictObject({ epoch: text(MAX_TEXT_BYTES), offset: z.int().min(0) })

const publication = {
  data,
  exclude: text(MAX_TEXT_BYTES).optional().meta({ description: 'A client that does not get it.' }),
  skip_history: z.boolean().default(false).meta({ description: 'Deliver it without keeping it.' }),
  tags: z
    .record(text(MAX_TEXT_BYTES), text(MAX_TEXT_BYTES))
    .refine((tags) => Object.keys(tags).length <= MAX_TAGS, `at most ${MAX_TAGS} are allowed`)
    .optional()
    .meta({ description: `At most ${MAX_TAGS} strings that go with the data.` }),
  idempotency_key: text(MAX_TEXT_BYTES)
    .optional()
    .meta({ description: 'A publication with a key that was used a short time ago is not made again.' }),
  delta: z.boolean().default(false).meta({ description: 'Not available: true is refused.' }),
}

/** The fields of a `ConnectionSelector`. */
const selector = {
  user: text(MAX_USER_BYTES).meta({
    description: 'All connections of this user; empty: of any user, then client or session is required.',
  }),
  client: text(MAX_TEXT_BYTES).min(1).optional().meta({ description: 'Only the connection with this id.' }),
  session: text(MAX_TEXT_BYTES)
    .min(1)
    .optional()
    .meta({ description: 'Only the connection of this session.' }),
}

function selectsConnections(body: {
  user: string
  client?: string | undefined
  session?: string | undefined
}) {
  return body.user !== '' || body.client !== undefined || body.session !== undefined
}
const SELECTOR_REQUIRED = { path: ['user'], message: 'is required, unless client or session is given' }

/** Bodies of the server API, by method. */
export const API_SCHEMAS = {
  publish: z.strictObject({ channel, ...publication }),
  broadcast: z.strictObject({
    channels: z.array(channel).min(1).max(MAX_BROADCAST_CHANNELS),
    ...publication,
  }),
  subscribe: z
    .strictObject({
      ...selector,
      channel,
      info: z.unknown().optional().meta({ description: 'Any JSON value, for presence, joins and leaves.' }),
      data: z.unknown().optional().meta({ description: 'Any JSON value that the client receives.' }),
      expire_at: unixSeconds.optional().meta({ description: 'Unix time in seconds.' }),
      recover_since: position.optional().meta({ description: 'What came after it is sent to the client.' }),
    })
    .refine(selectsConnections, SELECTOR_REQUIRED),
  unsubscribe: z.strictObject({ ...selector, channel }).refine(selectsConnections, SELECTOR_REQUIRED),
  disconnect: z
    .strictObject({
      ...selector,
      code: z
        .int()
        .min(3000, 'must be 3000 to 4999')
        .max(4999, 'must be 3000 to 4999')
        .default(DISCONNECTS.forceDisconnect.code)
        .meta({
          description:
            'The close code. After 3000–3499 and 4000–4499 clients come back, after the others they do not.',
        }),
      reason: text(MAX_REASON_BYTES).optional(),
      whitelist: z
        .array(text(MAX_TEXT_BYTES))
        .max(MAX_WHITELIST)
        .default([])
        .meta({ description: 'Ids of clients that stay.' }),
    })
    .refine(selectsConnections, SELECTOR_REQUIRED),
  refresh: z
    .strictObject({
      ...selector,
      expired: z.boolean().default(false).meta({ description: 'Whether it expires now.' }),
      expire_at: unixSeconds
        .optional()
        .meta({ description: 'Unix time in seconds; absent: the connection does not expire any more.' }),
    })
    .refine(selectsConnections, SELECTOR_REQUIRED),
  presence: z.strictObject({ channel }),
  presence_stats: z.strictObject({ channel }),
  history: z.strictObject({
    channel,
    limit: z
      .int()
      .min(-1)
      .default(0)
      .meta({ description: 'Of publications; 0: only the position; -1: all that may be had at once.' }),
    since: position.optional().meta({ description: 'Only what came after it, or before it in reverse.' }),
    reverse: z.boolean().default(false).meta({ description: 'The latest first.' }),
  }),
  history_remove: z.strictObject({ channel }),
  channels: z.strictObject({
    pattern: text(MAX_TEXT_BYTES)
      .default('*')
      .meta({ description: 'A glob: `*` is any characters, `?` is one.' }),
  }),
  info: z.strictObject({}),
  batch: z.strictObject({
    commands: z
      .array(
        z
          .record(z.string(), z.unknown())
          .refine((command) => Object.keys(command).length === 1, 'must have one key, the method')
          .meta({ minProperties: 1, maxProperties: 1 }),
      )
      .max(MAX_BATCH_COMMANDS)
      .meta({ description: 'Each is an object whose one key is the method and whose value is its body.' }),
    parallel: z
      .boolean()
      .default(false)
      .meta({ description: 'Run them at once instead of one after the other.' }),
  }),
} as const

export type ApiMethod = keyof typeof API_SCHEMAS
export type ApiBody<M extends ApiMethod> = z.infer<(typeof API_SCHEMAS)[M]>

export function isApiMethod(name: string): name is ApiMethod {
  return Object.hasOwn(API_SCHEMAS, name)
}
