export const PUBLISH_ONCE = `
-- Publishes a message of one entry that is kept in no stream, unless that has been done under its idempotency key.
--
-- KEYS[1] result of the idempotency key: list of epoch and offset; of one empty text if it was kept in no stream
-- ARGV[1] Redis channel
-- ARGV[2] milliseconds to keep the result
-- ARGV[3] the message
-- Returns {''}, or what there was.

local result = redis.call('LRANGE', KEYS[1], 0, -1)
if #result > 0 then return result end
redis.call('RPUSH', KEYS[1], '')
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PUBLISH', ARGV[1], ARGV[3])
return {''}
`
