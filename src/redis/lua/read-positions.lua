-- Reads the positions of streams of one era, and keeps their metadata from expiring: it is renewed when half of its time is
-- over, so that hardly any call writes. Needs stream-functions.
--
-- KEYS     hashes: metadata of streams, with epoch, offset and era
-- ARGV[1]  era of the data
-- ARGV[2]  replication id of the master, as the node knows it
-- ARGV[3]  most milliseconds to keep the metadata of a stream in which nothing was published
-- ARGV[4…] milliseconds to keep the metadata of each stream
-- Returns  {epoch, top offset, epoch, top offset, and so on}, empty strings where there is no stream of this era; or the
--          error OTHERMASTER

if is_other_master(ARGV[2]) then return OTHER_MASTER end
local answer = {}
for index, key in ipairs(KEYS) do
  local meta = redis.call('HMGET', key, 'epoch', 'offset', 'era')
  local top = tonumber(meta[2])
  if meta[1] and top and meta[3] == ARGV[1] then
    local ttl_ms = tonumber(ARGV[3 + index])
    if top == 0 then ttl_ms = math.min(ttl_ms, tonumber(ARGV[3])) end
    if redis.call('PTTL', key) < ttl_ms / 2 then redis.call('PEXPIRE', key, digits(ttl_ms)) end
    answer[#answer + 1] = meta[1]
    answer[#answer + 1] = meta[2]
  else
    answer[#answer + 1] = ''
    answer[#answer + 1] = ''
  end
end
return answer
