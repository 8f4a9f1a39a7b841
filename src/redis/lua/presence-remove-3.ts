import { Script } from '../script.js'
import { PRESENCE_FUNCTIONS } from './presence-functions.js'

/** Takes a client out of a channel. */
export const presenceRemove = new Script(
  3,
  `
-- Purpose: takes a client out of a channel.
-- KEYS[1]  hash: client -> entry, JSON with node, user and infos
-- KEYS[2]  hash: user -> number of its clients
-- KEYS[3]  set: clients of this node in the channel
-- ARGV[1]  client
-- ARGV[2]  its user, where the entry does not tell
-- Returns  {number of clients left in the channel, number of this node's clients left in it}
${PRESENCE_FUNCTIONS}
local known = redis.call('HGET', KEYS[1], ARGV[1])
if known then
  redis.call('HDEL', KEYS[1], ARGV[1])
  uncount(KEYS[2], user_of(known) or ARGV[2])
end
redis.call('SREM', KEYS[3], ARGV[1])
return {redis.call('HLEN', KEYS[1]), redis.call('SCARD', KEYS[3])}
`,
)
