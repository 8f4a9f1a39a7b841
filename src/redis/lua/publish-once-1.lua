-- Publishes a message of one entry that no stream keeps, unless its idempotency key was used before.
--
-- KEYS[1]  list: result of the idempotency key, epoch and offset; one empty string where no stream keeps the entry
-- ARGV[1]  PUBLISH or SPUBLISH
-- ARGV[2]  Redis channel
-- ARGV[3]  milliseconds to keep the result
-- ARGV[4]  the message
-- Returns  {''}, or the earlier result

local result = redis.call('LRANGE', KEYS[1], 0, -1)
if #result > 0 then return result end
redis.call('RPUSH', KEYS[1], '')
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call(ARGV[1], ARGV[2], ARGV[4])
return { '' }
