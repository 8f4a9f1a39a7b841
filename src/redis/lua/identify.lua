-- Identifies the server that a connection leads to, and the era of its data: the time in which one master has given all
-- offsets of streams. A new era begins wherever another master may have given offsets that this one does not know.
--
-- A promotion changes the replication id. So does a master whose last replica left, in passing, after repl-backlog-ttl;
-- that one is still the same process, and has no second id, which a promoted replica keeps of its former master.
--
-- In a Redis Cluster no key belongs to a server for good, since slots move. So there is none, and the replication id is the
-- era: a change of it in passing begins a new one there.
--
-- KEYS[1]  hash: the era, with era, replid and run_id; missing in a Redis Cluster
-- ARGV[1]  era to begin where none can go on
-- Returns  {role, era, replication id, Redis version, 1 where this is a node of a Redis Cluster, or 0}; empty strings for
--          what INFO does not tell. A replica has no era.

local function field(info, name)
  return type(info) == 'string' and string.match(info, '\n' .. name .. ':([^\r\n]+)') or ''
end

local replication, server = redis.pcall('INFO', 'replication'), redis.pcall('INFO', 'server')
local role, replid = field(replication, 'role'), field(replication, 'master_replid')
local version, run_id = field(server, 'redis_version'), field(server, 'run_id')
local is_cluster = field(server, 'redis_mode') == 'cluster' and 1 or 0
if role == 'slave' or replid == '' then return { role, '', replid, version, is_cluster } end

if not KEYS[1] then return { role, replid, replid, version, is_cluster } end

local known = redis.call('HMGET', KEYS[1], 'era', 'replid', 'run_id')
if known[1] and known[2] == replid then return { role, known[1], replid, version, is_cluster } end
local is_same_process = run_id ~= '' and known[3] == run_id
local was_promoted = string.match(field(replication, 'master_replid2'), '[^0]') ~= nil
local era = known[1]
if not (era and is_same_process and not was_promoted) then era = ARGV[1] end
redis.call('HSET', KEYS[1], 'era', era, 'replid', replid, 'run_id', run_id)
return { role, era, replid, version, is_cluster }
