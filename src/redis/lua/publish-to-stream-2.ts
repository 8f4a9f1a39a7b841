import { STREAM_FUNCTIONS } from './stream-functions.js'

export const PUBLISH_TO_STREAM = `
-- Keeps entries in a channel's stream and publishes them, both or neither.
--
-- KEYS[1] metadata of the stream: hash of epoch, offset, master
-- KEYS[2] the stream
-- ARGV[1] epoch to begin if there is none that goes on
-- ARGV[2] replication id of the master, as the node knows it
-- ARGV[3] Redis channel
-- ARGV[4] entries to keep
-- ARGV[5] milliseconds to keep them
-- ARGV[6] milliseconds to keep the metadata
-- ARGV[7…] the entries
-- Returns {epoch, offset of the first entry}.
${STREAM_FUNCTIONS}
return append_and_publish(KEYS[1], KEYS[2], 7)
`
