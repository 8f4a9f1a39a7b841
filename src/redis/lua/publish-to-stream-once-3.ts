import { STREAM_FUNCTIONS } from './stream-functions.js'

export const PUBLISH_TO_STREAM_ONCE = `
-- Keeps an entry in a channel's stream and publishes it, unless that has been done under its idempotency key.
--
-- KEYS[1] metadata of the stream: hash of epoch, offset, master
-- KEYS[2] the stream
-- KEYS[3] result of the idempotency key: list of epoch and offset; of one empty text if it was kept in no stream
-- ARGV[1] epoch to begin if there is none that goes on
-- ARGV[2] replication id of the master, as the node knows it
-- ARGV[3] Redis channel
-- ARGV[4] entries to keep
-- ARGV[5] milliseconds to keep them
-- ARGV[6] milliseconds to keep the metadata
-- ARGV[7] milliseconds to keep the result
-- ARGV[8] the entry
-- Returns {epoch, offset of the entry}, or what there was.
${STREAM_FUNCTIONS}
local result = redis.call('LRANGE', KEYS[3], 0, -1)
if #result > 0 then return result end
result = append_and_publish(KEYS[1], KEYS[2], 8)
redis.call('RPUSH', KEYS[3], result[1], result[2])
redis.call('PEXPIRE', KEYS[3], ARGV[7])
return result
`
