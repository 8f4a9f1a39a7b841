import type { ChainableCommander, Redis } from 'ioredis'
import { randomEpoch } from '../channel/stream-epoch.js'
import { encodeMessage, type StreamPosition } from './envelope.js'
import { PUBLISH_ONCE } from './lua/publish-once-1.js'
import { PUBLISH_TO_STREAM } from './lua/publish-to-stream-2.js'
import { PUBLISH_TO_STREAM_ONCE } from './lua/publish-to-stream-once-3.js'
import { READ_STREAM } from './lua/read-stream-2.js'
import { Script, type ScriptArgument } from './script.js'

const publishToStream = new Script(2, PUBLISH_TO_STREAM)
const publishToStreamOnce = new Script(3, PUBLISH_TO_STREAM_ONCE)
const publishOnce = new Script(1, PUBLISH_ONCE)
const readStreamScript = new Script(2, READ_STREAM)

/** The keys of a channel's stream. */
export interface StreamKeys {
  readonly meta: string
  readonly stream: string
}

/** A stream to keep entries in. */
export interface StreamTarget extends StreamKeys {
  /** Entries to keep. */
  readonly size: number
  readonly ttlMs: number
  readonly metaTtlMs: number
}

/** What is done with an entry beside publishing it. */
export interface EntryHandling {
  readonly stream: StreamTarget | undefined
  /** The key that keeps what came of it, and for how long; the entry is not published while there is such a result. */
  readonly once: { readonly resultKey: string; readonly ttlMs: number } | undefined
}

/** Whether two entries of one channel may share a script call. */
export function isSameCall(a: EntryHandling | undefined, b: EntryHandling | undefined): boolean {
  if (a === undefined || b === undefined) return a === b
  if (a.stream === undefined || b.stream === undefined) return false
  if (a.once !== undefined || b.once !== undefined) return false
  const { size, ttlMs, metaTtlMs } = a.stream
  return size === b.stream.size && ttlMs === b.stream.ttlMs && metaTtlMs === b.stream.metaTtlMs
}

/** A script call that publishes entries. */
export interface PublishingCall extends EntryHandling {
  readonly redisChannel: string
  readonly entries: readonly Buffer[]
  /** Replication id of the master. */
  readonly masterId: string
  /** Whether it must not fail for a script that Redis does not know. */
  readonly isInFull: boolean
}

/** Adds the call to a pipeline; its reply is for `firstPosition`. */
export function addPublishingCall(pipeline: ChainableCommander, call: PublishingCall): void {
  const { redisChannel, entries, stream, once, masterId, isInFull } = call
  if (stream === undefined) {
    if (once === undefined) throw new Error('a plain entry needs no script')
    const args = [redisChannel, once.ttlMs, encodeMessage(entries)]
    publishOnce.addTo(pipeline, [once.resultKey], args, isInFull)
    return
  }
  const { meta, stream: key, size, ttlMs, metaTtlMs } = stream
  const args: ScriptArgument[] = [randomEpoch(), masterId, redisChannel, size, ttlMs, metaTtlMs]
  if (once === undefined) publishToStream.addTo(pipeline, [meta, key], [...args, ...entries], isInFull)
  else {
    publishToStreamOnce.addTo(
      pipeline,
      [meta, key, once.resultKey],
      [...args, once.ttlMs, ...entries],
      isInFull,
    )
  }
}

/** The place of a call's first entry; undefined where it is in no stream. */
export function firstPosition(reply: unknown): StreamPosition | undefined {
  const [epoch, offset] = reply as [string, string | undefined]
  return offset === undefined ? undefined : { epoch, offset: Number(offset) }
}

export interface StreamQuery {
  /** The most entries to give. */
  readonly limit: number
  /** After this offset, or before it if reverse. */
  readonly sinceOffset: number | undefined
  readonly isReverse: boolean
  /** About the most bytes to give; one entry is given however large. */
  readonly maxBytes?: number
  readonly metaTtlMs: number
}

export interface StreamSlice {
  /** Of the top. */
  readonly position: StreamPosition
  readonly entries: readonly { readonly offset: number; readonly bytes: Buffer | undefined }[]
}

/** A stream's entries and position of one moment. `bytes` is undefined for an entry that no node of ours has kept. */
export async function readStream(
  redis: Redis,
  masterId: string,
  keys: StreamKeys,
  { limit, sinceOffset, isReverse, maxBytes = -1, metaTtlMs }: StreamQuery,
): Promise<StreamSlice> {
  // Redis knows nothing before offset 0, and no larger ids than 64 bits.
  const isBeforeAll = isReverse && sinceOffset === 0
  const since = sinceOffset === undefined ? undefined : Math.min(sinceOffset, Number.MAX_SAFE_INTEGER)
  const [command, from, to] = isReverse ? ['XREVRANGE', '+', '-'] : ['XRANGE', '-', '+']
  const start = since === undefined || isBeforeAll ? from : `(${since}-0`
  const reply = await readStreamScript.run(
    redis,
    [keys.meta, keys.stream],
    [randomEpoch(), masterId, metaTtlMs, isBeforeAll ? 0 : limit, command, start, to, maxBytes],
  )
  const [epoch, top, entries] = reply as [Buffer, Buffer, [Buffer, (Buffer | undefined)[]][]]
  return {
    position: { epoch: epoch.toString(), offset: Number(top.toString()) },
    entries: entries.map(([id, [, bytes]]) => ({ offset: Number.parseInt(id.toString(), 10), bytes })),
  }
}
