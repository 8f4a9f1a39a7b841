-- Renews or releases the lock of a sweep, only where the node still has it: after a stall of the node another one may
-- have taken it.
--
-- KEYS[1]  string: id of the node that sweeps
-- ARGV[1]  id of the node that asks
-- ARGV[2]  milliseconds that the lock lasts from now on, or 0 to release it
-- Returns  1, or 0 where the node does not have the lock

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then return redis.call('DEL', KEYS[1]) end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
