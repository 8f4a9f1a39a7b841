-- Appends an entry to a channel's stream and publishes it, unless its idempotency key was used before. Needs
-- stream-functions.
--
-- KEYS[1]  hash: metadata of the stream, with epoch, offset and era
-- KEYS[2]  the stream
-- KEYS[3]  list: result of the idempotency key, epoch and offset; one empty string where no stream keeps the entry
-- ARGV[1]  epoch to begin where none can go on
-- ARGV[2]  era of the data
-- ARGV[3]  PUBLISH or SPUBLISH
-- ARGV[4]  Redis channel
-- ARGV[5]  number of entries to keep
-- ARGV[6]  milliseconds to keep them
-- ARGV[7]  milliseconds to keep the metadata
-- ARGV[8]  replication id of the master, as the node knows it
-- ARGV[9]  milliseconds to keep the result
-- ARGV[10] the entry
-- Returns  {epoch, offset of the entry}, or the earlier result, or the error OTHERMASTER

if is_other_master(ARGV[8]) then return OTHER_MASTER end
local result = redis.call('LRANGE', KEYS[3], 0, -1)
if #result > 0 then return result end
result = append_and_publish(KEYS[1], KEYS[2], 10)
redis.call('RPUSH', KEYS[3], result[1], result[2])
redis.call('PEXPIRE', KEYS[3], ARGV[9])
return result
