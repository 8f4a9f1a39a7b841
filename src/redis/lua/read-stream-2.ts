import { UNUSED_EPOCH_TTL_MS } from '../../channel/stream-epoch.js'
import { STREAM_FUNCTIONS } from './stream-functions.js'

export const READ_STREAM = `
-- Reads what a channel's stream keeps, and its position.
--
-- KEYS[1] metadata of the stream: hash of epoch, offset, master
-- KEYS[2] the stream
-- ARGV[1] epoch to begin if there is none that goes on
-- ARGV[2] replication id of the master, as the node knows it
-- ARGV[3] milliseconds to keep the metadata, an hour at most while nothing was published
-- ARGV[4] the most entries to give
-- ARGV[5] XRANGE or XREVRANGE
-- ARGV[6] id to start from
-- ARGV[7] id to end at
-- ARGV[8] about the most bytes to give; one entry is given however large. -1: no bound
-- Returns {epoch, top offset, entries as XRANGE gives them}.
${STREAM_FUNCTIONS}
local epoch, top = open_stream(KEYS[1], KEYS[2], ARGV[1], ARGV[2])
local meta_ttl_ms = tonumber(ARGV[3])
if top == 0 then meta_ttl_ms = math.min(meta_ttl_ms, ${UNUSED_EPOCH_TTL_MS}) end
redis.call('PEXPIRE', KEYS[1], digits(meta_ttl_ms))
local entries = {}
local left, room, start = tonumber(ARGV[4]), tonumber(ARGV[8]), ARGV[6]
-- By and by, so that no more is read than is given, but for a few.
while left > 0 do
  local count = room < 0 and left or math.min(left, 16)
  local some = redis.call(ARGV[5], KEYS[2], start, ARGV[7], 'COUNT', digits(count))
  for _, entry in ipairs(some) do
    if room >= 0 then
      room = room - #(entry[2][2] or '')
      if room < 0 and #entries > 0 then return {epoch, digits(top), entries} end
      room = math.max(room, 0)
    end
    entries[#entries + 1] = entry
    start = '(' .. entry[1]
  end
  if #some < count then break end
  left = left - count
end
return {epoch, digits(top), entries}
`
