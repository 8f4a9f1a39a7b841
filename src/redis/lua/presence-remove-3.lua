-- Removes clients from a channel. Needs presence-functions.
--
-- KEYS[1]  hash: client -> entry, JSON with node, user and infos
-- KEYS[2]  hash: user -> number of its clients
-- KEYS[3]  set: clients of this node in the channel
-- ARGV     client, its user (used where the entry names none), client, its user, and so on
-- Returns  {number of this node's clients left in the channel, then for each client: number of all left after it}

local left = {}
for index = 1, #ARGV, 2 do
  local client, user = ARGV[index], ARGV[index + 1]
  local known = redis.call('HGET', KEYS[1], client)
  if known then
    redis.call('HDEL', KEYS[1], client)
    uncount(KEYS[2], user_of(known) or user)
  end
  redis.call('SREM', KEYS[3], client)
  left[#left + 1] = redis.call('HLEN', KEYS[1])
end
return { redis.call('SCARD', KEYS[3]), unpack(left) }
