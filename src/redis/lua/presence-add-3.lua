-- Adds clients to a channel, or renews their entries. Needs presence-functions.
--
-- KEYS[1]  hash: client -> entry, JSON with node, user and infos
-- KEYS[2]  hash: user -> number of its clients
-- KEYS[3]  set: clients of this node in the channel
-- ARGV     client, user, entry, client, user, entry, and so on
-- Returns  {for each client: number of clients in the channel with it, 1 if it was absent before, or 0}

local answer = {}
for index = 1, #ARGV, 3 do
  local client, user, entry = ARGV[index], ARGV[index + 1], ARGV[index + 2]
  local known = redis.call('HGET', KEYS[1], client)
  local known_user = known and user_of(known)
  if known_user ~= user then
    uncount(KEYS[2], known_user)
    redis.call('HINCRBY', KEYS[2], user, 1)
  end
  redis.call('HSET', KEYS[1], client, entry)
  redis.call('SADD', KEYS[3], client)
  answer[#answer + 1] = redis.call('HLEN', KEYS[1])
  answer[#answer + 1] = known and 0 or 1
end
return answer
