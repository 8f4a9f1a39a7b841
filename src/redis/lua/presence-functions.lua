-- Functions that the scripts for presence share; put in front of them when they are loaded.

-- Returns the user of an entry; nil for one that no node has written, which must not stop a script halfway.
local function user_of(entry)
  local is_json, value = pcall(cjson.decode, entry)
  if is_json and type(value) == 'table' and type(value.user) == 'string' then return value.user end
end

-- Subtracts one client from the user's count.
local function uncount(users_key, user)
  if user and redis.call('HINCRBY', users_key, user, -1) <= 0 then redis.call('HDEL', users_key, user) end
end
