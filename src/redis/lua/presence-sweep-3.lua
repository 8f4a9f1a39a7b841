-- Removes clients of one node from a channel, each only if its entry is still the one that was read: a node that comes
-- back renews its entries, and a sweep that started before must leave those alone. Needs presence-functions.
--
-- KEYS[1]  hash: client -> entry, JSON with node, user and infos
-- KEYS[2]  hash: user -> number of its clients
-- KEYS[3]  set: clients of the node in the channel
-- ARGV     client, entry, client, entry, and so on; an empty entry where none was read
-- Returns  {number of clients left in the channel, number of the node's clients left in it,
--           then for each client: 1 if it was removed, or 0}

local removed = {}
for index = 1, #ARGV, 2 do
  local client, entry = ARGV[index], ARGV[index + 1]
  local known = redis.call('HGET', KEYS[1], client)
  removed[#removed + 1] = 0
  if (known or '') == entry then
    redis.call('SREM', KEYS[3], client)
    if known then
      redis.call('HDEL', KEYS[1], client)
      uncount(KEYS[2], user_of(known))
      removed[#removed] = 1
    end
  end
end
return { redis.call('HLEN', KEYS[1]), redis.call('SCARD', KEYS[3]), unpack(removed) }
