-- Reads entries of a channel's stream and its position, both of one moment. Needs stream-functions.
--
-- KEYS[1]  hash: metadata of the stream, with epoch, offset and era
-- KEYS[2]  the stream
-- ARGV[1]  epoch to begin where none can go on
-- ARGV[2]  era of the data
-- ARGV[3]  milliseconds to keep the metadata
-- ARGV[4]  most milliseconds to keep the metadata of a stream in which nothing was published
-- ARGV[5]  most entries to return
-- ARGV[6]  XRANGE or XREVRANGE
-- ARGV[7]  id to start from
-- ARGV[8]  id to end at
-- ARGV[9]  bytes to return at most, though never less than one entry; -1: no bound
-- ARGV[10] replication id of the master, as the node knows it
-- Returns  {epoch, top offset, entries as XRANGE returns them}, or the error OTHERMASTER

if is_other_master(ARGV[10]) then return OTHER_MASTER end
local epoch, top = open_stream(KEYS[1], KEYS[2], ARGV[1], ARGV[2])
local meta_ttl_ms = tonumber(ARGV[3])
if top == 0 then meta_ttl_ms = math.min(meta_ttl_ms, tonumber(ARGV[4])) end
redis.call('PEXPIRE', KEYS[1], digits(meta_ttl_ms))
local entries = {}
local left, room, start = tonumber(ARGV[5]), tonumber(ARGV[9]), ARGV[7]
-- In small pieces where bytes are bounded, so that hardly more is read than is returned.
while left > 0 do
  local count = room < 0 and left or math.min(left, 16)
  local some = redis.call(ARGV[6], KEYS[2], start, ARGV[8], 'COUNT', digits(count))
  for _, entry in ipairs(some) do
    if room >= 0 then
      room = room - #(entry[2][2] or '')
      if room < 0 and #entries > 0 then return { epoch, digits(top), entries } end
      room = math.max(room, 0)
    end
    entries[#entries + 1] = entry
    start = '(' .. entry[1]
  end
  if #some < count then break end
  left = left - count
end
return { epoch, digits(top), entries }
