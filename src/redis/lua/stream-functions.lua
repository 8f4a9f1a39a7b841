-- Functions that the scripts for streams share; put in front of them when they are loaded.
--
-- The metadata of a stream names the era in which its offsets were given (see identify-1). In another era a new epoch
-- begins, since the former master may have given offsets that this one does not know: a failover loses what was not
-- replicated. The entries that are left stay: they are the first ones of the new epoch, which continues their offsets.
-- Without metadata the top offset is unknown, and a stream begins from nothing.

-- Formats an offset as digits: tostring would round large ones.
local function digits(number)
  return string.format('%.0f', number)
end

-- Whether this is another master than the one that the node has identified. An identity that was read once per connection
-- proves nothing: a proxy keeps connections over a failover, and so does a master that is demoted and promoted again.
-- Where INFO is forbidden no identity is known, on either side.
local function is_other_master(known_replid)
  local info = redis.pcall('INFO', 'replication')
  local replid = type(info) == 'string' and string.match(info, 'master_replid:(%w+)')
  return replid and replid ~= known_replid
end

local OTHER_MASTER = redis.error_reply('OTHERMASTER the node has identified another master')

-- Returns the stream's epoch and top offset, after beginning a new epoch where the old one cannot go on.
local function open_stream(meta_key, stream_key, fresh_epoch, era)
  local meta = redis.call('HMGET', meta_key, 'epoch', 'offset', 'era')
  local epoch, top = meta[1], tonumber(meta[2])
  if epoch and top and meta[3] == era then return epoch, top end
  if not (epoch and top) then
    redis.call('DEL', stream_key)
    top = 0
  end
  redis.call('HSET', meta_key, 'epoch', fresh_epoch, 'offset', digits(top), 'era', era)
  return fresh_epoch, top
end

-- Appends the entries, which are ARGV[first] and on, to the stream and publishes them as one relay message. ARGV[1] to
-- ARGV[7]: fresh epoch, era, PUBLISH or SPUBLISH, Redis channel, size, TTL and TTL of the metadata in milliseconds. Returns
-- the epoch and the offset of the first entry.
local function append_and_publish(meta_key, stream_key, first)
  local epoch, top = open_stream(meta_key, stream_key, ARGV[1], ARGV[2])
  for index = first, #ARGV do
    local id = digits(top + 1 + index - first) .. '-0'
    redis.call('XADD', stream_key, 'MAXLEN', ARGV[5], id, 'e', ARGV[index])
  end
  redis.call('PEXPIRE', stream_key, ARGV[6])
  redis.call('HSET', meta_key, 'offset', digits(top + 1 + #ARGV - first))
  redis.call('PEXPIRE', meta_key, ARGV[7])
  local header = '\1' .. struct.pack('>B', #epoch) .. epoch .. struct.pack('>d', top + 1)
  redis.call(ARGV[3], ARGV[4], header .. table.concat(ARGV, '', first))
  return { epoch, digits(top + 1) }
end
