import type { ChainableCommander, Redis } from 'ioredis'
import { randomEpoch, UNUSED_EPOCH_TTL_MS } from '../channel/stream-epoch.js'
import type { StreamPosition } from '../protocol/publication.js'
import type { RedisIdentity } from './redis-identity.js'
import type { PackedMessage, StreamKeys } from './relay-batch.js'
import { encodeMessage } from './relay-message.js'
import { Script, type ScriptArgument } from './script.js'

const publishToStream = new Script('publish-to-stream-2', 'stream-functions')
const publishToStreamOnce = new Script('publish-to-stream-once-3', 'stream-functions')
const publishOnce = new Script('publish-once-1')
const readStreamScript = new Script('read-stream-2', 'stream-functions')
const readPositionsScript = new Script('read-positions', 'stream-functions')

/** The master that this node has identified, and the era of its data. */
export type MasterIdentity = Pick<RedisIdentity, 'era' | 'replicationId'>

/**
 * Adds the command that relays a message to a pipeline. `firstPosition` reads the reply of one with storage.
 * @param isInFull whether it must not fail for a script that Redis does not know
 * @param isSharded whether the Redis channel belongs to a slot
 */
export function addRelayCommand(
  pipeline: ChainableCommander,
  { redisChannel, storage, entries: pending }: PackedMessage,
  { era, replicationId }: MasterIdentity,
  { isInFull, isSharded }: { readonly isInFull: boolean; readonly isSharded: boolean },
): void {
  const entries = pending.map(({ entry }) => entry)
  if (storage === undefined) {
    if (isSharded) pipeline.spublish(redisChannel, encodeMessage(entries))
    else pipeline.publish(redisChannel, encodeMessage(entries))
    return
  }
  const publish = isSharded ? 'SPUBLISH' : 'PUBLISH'
  const { stream, idempotency } = storage
  if (stream !== undefined) {
    const { meta, stream: key, size, ttlMs, metaTtlMs } = stream
    const limits = [size, ttlMs, metaTtlMs]
    const args: ScriptArgument[] = [randomEpoch(), era, publish, redisChannel, ...limits, replicationId]
    if (idempotency === undefined) {
      publishToStream.addTo(pipeline, [meta, key], [...args, ...entries], isInFull)
    } else {
      const { resultKey, ttlMs: resultTtlMs } = idempotency
      publishToStreamOnce.addTo(
        pipeline,
        [meta, key, resultKey],
        [...args, resultTtlMs, ...entries],
        isInFull,
      )
    }
  } else if (idempotency !== undefined) {
    const args = [publish, redisChannel, idempotency.ttlMs, encodeMessage(entries)]
    publishOnce.addTo(pipeline, [idempotency.resultKey], args, isInFull)
  } else throw new Error('storage without a stream or an idempotency key')
}

/** The position of the first entry of a message; undefined where no stream keeps it. */
export function firstPosition(reply: unknown): StreamPosition | undefined {
  const [epoch, offset] = reply as [string, string | undefined]
  return offset === undefined ? undefined : { epoch, offset: Number(offset) }
}

export interface StreamQuery {
  /** The most entries to return. */
  readonly limit: number
  /** Only entries after this offset, or before it if reverse. */
  readonly sinceOffset: number | undefined
  readonly isReverse: boolean
  /** The most bytes to return, about; one entry is returned however large. */
  readonly maxBytes?: number
  readonly metaTtlMs: number
}

export interface StreamSlice {
  /** Position of the top of the stream. */
  readonly position: StreamPosition
  /** `bytes` is undefined for an entry without the field that nodes write. */
  readonly entries: readonly { readonly offset: number; readonly bytes: Buffer | undefined }[]
}

/** Reads entries of a stream and its position, both of one moment. Rejects with an error of ioredis. */
export async function readStream(
  redis: Redis,
  { era, replicationId }: MasterIdentity,
  keys: StreamKeys,
  { limit, sinceOffset, isReverse, maxBytes = -1, metaTtlMs }: StreamQuery,
): Promise<StreamSlice> {
  // Redis has no id before offset 0, and none above 64 bits.
  const isBeforeAll = isReverse && sinceOffset === 0
  const since = sinceOffset === undefined ? undefined : Math.min(sinceOffset, Number.MAX_SAFE_INTEGER)
  const [command, from, to] = isReverse ? ['XREVRANGE', '+', '-'] : ['XRANGE', '-', '+']
  const start = since === undefined || isBeforeAll ? from : `(${since}-0`
  const ttls = [metaTtlMs, UNUSED_EPOCH_TTL_MS]
  const reply = await readStreamScript.run(
    redis,
    [keys.meta, keys.stream],
    [randomEpoch(), era, ...ttls, isBeforeAll ? 0 : limit, command, start, to, maxBytes, replicationId],
  )
  const [epoch, top, entries] = reply as [Buffer, Buffer, [Buffer, (Buffer | undefined)[]][]]
  return {
    position: { epoch: epoch.toString(), offset: Number(top.toString()) },
    entries: entries.map(([id, [, bytes]]) => ({ offset: Number.parseInt(id.toString(), 10), bytes })),
  }
}

/**
 * Reads the positions of streams, all of one moment; undefined where there is no stream of this era. Rejects with an error
 * of ioredis.
 * @param metaKeys keys of their metadata, in a Redis Cluster all of one slot
 * @param metaTtlsMs for how long the metadata of each is kept, as `readStream` does
 */
export async function readPositions(
  redis: Redis,
  { era, replicationId }: MasterIdentity,
  metaKeys: readonly string[],
  metaTtlsMs: readonly number[],
): Promise<(StreamPosition | undefined)[]> {
  const args = [era, replicationId, UNUSED_EPOCH_TTL_MS, ...metaTtlsMs]
  const reply = (await readPositionsScript.run(redis, metaKeys, args)) as Buffer[]
  return metaKeys.map((_, index) => {
    const epoch = reply[2 * index]?.toString() ?? ''
    return epoch === '' ? undefined : { epoch, offset: Number(reply[2 * index + 1]?.toString()) }
  })
}
