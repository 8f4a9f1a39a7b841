import { z } from 'zod'
import { matchesGlob } from '../channel/glob.js'

/** The most channels that a node lists in one answer. */
export const MAX_LISTED_CHANNELS = 10_000

/** A node's description of itself, for `POST /api/info`. Names and shapes are those of that endpoint. */
export const nodeInfo = z.object({
  uid: z.string(),
  name: z.string(),
  version: z.string(),
  num_clients: z.int().nonnegative(),
  num_channels: z.int().nonnegative(),
  /** Whole seconds since the node started. */
  uptime: z.number().nonnegative(),
})
export type NodeInfo = z.infer<typeof nodeInfo>

/** The channels of a node and their number of clients. */
export const channelList = z.object({
  /** Pairs of a channel and its number of clients. Not an object, since a channel may be called `__proto__`. */
  channels: z.array(z.tuple([z.string(), z.int().nonnegative()])).max(MAX_LISTED_CHANNELS),
  /** Whether the node has more channels that match. */
  isTruncated: z.boolean(),
})
export type ChannelList = z.infer<typeof channelList>

/**
 * Lists the channels that match the glob, up to MAX_LISTED_CHANNELS of them.
 * @param sizes pairs of a channel and its number of clients.
 */
export function listChannels(sizes: Iterable<readonly [string, number]>, pattern: string): ChannelList {
  const channels: [string, number][] = []
  for (const [name, clients] of sizes) {
    if (!matchesGlob(pattern, name)) continue
    if (channels.length === MAX_LISTED_CHANNELS) return { channels, isTruncated: true }
    channels.push([name, clients])
  }
  return { channels, isTruncated: false }
}

/** The result of an operation on a node's connections. */
export const controlResult = z.object({
  touched: z.int().nonnegative(),
  refusal: z.object({ code: z.int(), message: z.string(), temporary: z.boolean().optional() }).optional(),
})
