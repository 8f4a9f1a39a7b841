import { Script } from '../script.js'
import { PRESENCE_FUNCTIONS } from './presence-functions.js'

/** Puts a client into a channel. */
export const presenceAdd = new Script(
  3,
  `
-- Purpose: puts a client into a channel, or renews its entry.
-- KEYS[1]  hash: client -> entry, JSON with node, user and infos
-- KEYS[2]  hash: user -> number of its clients
-- KEYS[3]  set: clients of this node in the channel
-- ARGV[1]  client
-- ARGV[2]  user
-- ARGV[3]  entry
-- Returns  {number of clients in the channel, 1 if the client was not there before}
${PRESENCE_FUNCTIONS}
local known = redis.call('HGET', KEYS[1], ARGV[1])
local knownUser = known and user_of(known)
if knownUser ~= ARGV[2] then uncount(KEYS[2], knownUser) end
if knownUser ~= ARGV[2] then redis.call('HINCRBY', KEYS[2], ARGV[2], 1) end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('SADD', KEYS[3], ARGV[1])
return {redis.call('HLEN', KEYS[1]), known and 0 or 1}
`,
)
