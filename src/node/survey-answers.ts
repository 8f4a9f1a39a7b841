import { z } from 'zod'
import { matchesGlob } from '../channel/glob.js'

/** The most channels that a node tells of in one answer. */
export const MAX_LISTED_CHANNELS = 10_000

/** What a node says of itself to `POST /api/info`. */
export const nodeInfo = z.object({
  uid: z.string(),
  name: z.string(),
  version: z.string(),
  num_clients: z.int().nonnegative(),
  num_channels: z.int().nonnegative(),
  /** Seconds. */
  uptime: z.number().nonnegative(),
})
export type NodeInfo = z.infer<typeof nodeInfo>

/** A node's clients by channel. */
export const channelList = z.object({
  /** Pairs, since a channel may be called `__proto__`. */
  channels: z.array(z.tuple([z.string(), z.int().nonnegative()])).max(MAX_LISTED_CHANNELS),
  /** Whether there are more channels. */
  isTruncated: z.boolean(),
})
export type ChannelList = z.infer<typeof channelList>

/** Of a node's clients by channel, those whose channel matches the glob, as far as one answer has room. */
export function listChannels(sizes: Iterable<readonly [string, number]>, pattern: string): ChannelList {
  const channels: [string, number][] = []
  for (const [name, clients] of sizes) {
    if (!matchesGlob(pattern, name)) continue
    if (channels.length === MAX_LISTED_CHANNELS) return { channels, isTruncated: true }
    channels.push([name, clients])
  }
  return { channels, isTruncated: false }
}

/** What became of a request about connections on a node. */
export const outcome = z.object({
  touched: z.int().nonnegative(),
  refusal: z.object({ code: z.int(), message: z.string() }).optional(),
})
