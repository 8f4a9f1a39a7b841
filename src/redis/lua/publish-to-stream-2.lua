-- Appends entries to a channel's stream and publishes them, both or neither. Needs stream-functions.
--
-- KEYS[1]   hash: metadata of the stream, with epoch, offset and era
-- KEYS[2]   the stream
-- ARGV[1]   epoch to begin where none can go on
-- ARGV[2]   era of the data
-- ARGV[3]   PUBLISH or SPUBLISH
-- ARGV[4]   Redis channel
-- ARGV[5]   number of entries to keep
-- ARGV[6]   milliseconds to keep them
-- ARGV[7]   milliseconds to keep the metadata
-- ARGV[8]   replication id of the master, as the node knows it
-- ARGV[9…]  the entries
-- Returns   {epoch, offset of the first entry}, or the error OTHERMASTER

if is_other_master(ARGV[8]) then return OTHER_MASTER end
return append_and_publish(KEYS[1], KEYS[2], 9)
