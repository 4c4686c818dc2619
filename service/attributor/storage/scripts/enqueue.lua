-- Stores a job and queues it, unless its idempotency key already names one or the queue is full.
-- KEYS: 1 namespace
-- ARGV: 1 id, 2 spec bytes, 3 lifetime after the end in ms, 4 most queued jobs, 5 idempotency key or '',
--       6 lifetime of that key in ms, 7 fingerprint, 8 kind, 9 tenant, 10 line, 11 model, 12 version,
--       13 digest of the version, 14 number of inputs
-- Returns: {'created' | 'replayed' | 'conflict' | 'full', id}

local id, tenant, line = ARGV[1], ARGV[9], ARGV[10]
local job = key('job', id)
if redis.call('EXISTS', job) == 1 then
  return { 'created', id } -- sent again because the first reply was lost
end

local idem = key('idem', tenant, ARGV[5])
if ARGV[5] ~= '' then
  local known = redis.call('HMGET', idem, 'id', 'fingerprint')
  -- A job that expired before its key cannot be answered with: the retry then makes a new one.
  if known[1] and redis.call('EXISTS', key('job', known[1])) == 1 then
    return { known[2] == ARGV[7] and 'replayed' or 'conflict', known[1] }
  end
end

if tonumber(redis.call('HGET', key('counters'), 'queued') or '0') >= tonumber(ARGV[4]) then
  return { 'full', id }
end

local seq = redis.call('INCR', key('seq'))
redis.call('HSET', job, 'state', 'queued', 'kind', ARGV[8], 'tenant', tenant, 'priority', line,
  'model', ARGV[11], 'version', ARGV[12], 'digest', ARGV[13], 'n_inputs', ARGV[14], 'seq', seq, 'attempts', 0,
  'created_ms', now_ms(), 'ttl_ms', ARGV[3], 'idem', ARGV[5])
redis.call('SET', key('payload', id), ARGV[2])
if ARGV[5] ~= '' then
  redis.call('HSET', idem, 'id', id, 'fingerprint', ARGV[7])
  redis.call('PEXPIRE', idem, ARGV[6])
end
if ARGV[8] == 'attribution' then
  redis.call('ZADD', key('index', tenant), seq, id)
end
make_ready(id, line, tenant, seq)
changed(id, 'queued')
return { 'created', id }
