-- Functions that the scripts for streams share; put in front of them when they are loaded.
--
-- The metadata of a stream names the master that gave its offsets, by replication id. A master with another id may not
-- know every offset that was given (a failover loses what was not replicated), so a new epoch begins and the old entries
-- are deleted. A node reads the id when it connects, and a master that lost its last replica changes it in passing: where
-- the two differ the script asks the master itself, or nodes that connected at different times would begin epochs in turn.

-- Formats an offset as digits: tostring would round large ones.
local function digits(number)
  return string.format('%.0f', number)
end

-- Returns the replication id of this master; the one that the node knows where INFO is forbidden.
local function master_id(known)
  local info = redis.pcall('INFO', 'replication')
  return type(info) == 'string' and string.match(info, 'master_replid:(%w+)') or known
end

-- Returns the stream's epoch and top offset, after beginning a new epoch where the old one cannot go on.
local function open_stream(meta_key, stream_key, fresh_epoch, known_master)
  local meta = redis.call('HMGET', meta_key, 'epoch', 'offset', 'master')
  local epoch, top, master = meta[1], tonumber(meta[2]), known_master
  if meta[3] ~= known_master then master = master_id(known_master) end
  if epoch and top and meta[3] == master then return epoch, top end
  redis.call('DEL', stream_key)
  redis.call('HSET', meta_key, 'epoch', fresh_epoch, 'offset', '0', 'master', master)
  return fresh_epoch, 0
end

-- Appends the entries, which are ARGV[first] and on, to the stream and publishes them as one relay message. ARGV[1] to
-- ARGV[6]: fresh epoch, known master, Redis channel, size, TTL and TTL of the metadata in milliseconds. Returns the epoch
-- and the offset of the first entry.
local function append_and_publish(meta_key, stream_key, first)
  local epoch, top = open_stream(meta_key, stream_key, ARGV[1], ARGV[2])
  for index = first, #ARGV do
    local id = digits(top + 1 + index - first) .. '-0'
    redis.call('XADD', stream_key, 'MAXLEN', ARGV[4], id, 'e', ARGV[index])
  end
  redis.call('PEXPIRE', stream_key, ARGV[5])
  redis.call('HSET', meta_key, 'offset', digits(top + 1 + #ARGV - first))
  redis.call('PEXPIRE', meta_key, ARGV[6])
  local header = '\1' .. struct.pack('>B', #epoch) .. epoch .. struct.pack('>d', top + 1)
  redis.call('PUBLISH', ARGV[3], header .. table.concat(ARGV, '', first))
  return { epoch, digits(top + 1) }
end
