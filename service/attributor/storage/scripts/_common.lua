-- Stands before every script, after the constants written by keys.py: key names, the clock, and the steps that
-- several scripts take. Every visible change of a job goes through changed(). A job's field `priority` holds its line
-- (keys.py), which begins with COMPARISON_LINE for a comparator's.
-- KEYS: 1 the namespace, "{attributor}:"; all keys are built from it and share its hash tag.

local function key(name, ...)
  return KEYS[1] .. NAMES[name] .. table.concat({ ... }, ':')
end

-- The server's clock, so that workers' clocks need not agree.
local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function count(name, by)
  redis.call('HINCRBY', key('counters'), name, by)
end

local function announce(id, state)
  redis.call('XADD', key('events'), 'MAXLEN', '~', EVENTS_KEPT, '*', 'id', id, 'state', state)
end

local function changed(id, state)
  redis.call('HINCRBY', key('job', id), 'revision', 1)
  announce(id, state)
end

-- Puts the tenant where its first queued job belongs, or takes it out of the ring.
local function restamp(line, tenant)
  local ring = key('ring', line)
  local first = redis.call('ZRANGE', key('ready', line, tenant), 0, 0, 'WITHSCORES')
  if #first == 0 then
    redis.call('ZREM', ring, tenant)
  else
    redis.call('ZADD', ring, first[2], tenant)
  end
end

-- The seq of a job never changes, so a job queued again stands before all later ones of its tenant.
local function make_ready(id, line, tenant, seq)
  redis.call('ZADD', key('ready', line, tenant), seq, id)
  restamp(line, tenant)
  count('queued', 1)
  if redis.call('LLEN', key('bell')) < BELL_MAX then
    redis.call('RPUSH', key('bell'), '1')
  end
end

-- Ends a lease, whatever becomes of its job.
local function take_from_worker(id)
  redis.call('ZREM', key('leases'), id)
  redis.call('HDEL', key('job', id), 'token')
  count('running', -1)
end

-- Puts a job that no worker holds any more back where it stood.
local function queue_again(id, line, tenant, seq)
  redis.call('HSET', key('job', id), 'state', 'queued')
  redis.call('HDEL', key('job', id), 'started_ms', 'evaluations', 'completeness_error', 'inputs_done')
  make_ready(id, line, tenant, seq)
  changed(id, 'queued')
end

-- Ends a job that is in no queue and under no lease: state, event, lifetime.
local function settle(id, state)
  local job = key('job', id)
  local v = redis.call('HMGET', job, 'kind', 'tenant', 'ttl_ms')
  local now = now_ms()
  local expires = now + tonumber(v[3])
  redis.call('HSET', job, 'state', state, 'finished_ms', now, 'expires_ms', expires)
  redis.call('HDEL', job, 'cancel')
  changed(id, state)
  for _, name in ipairs({ 'job', 'payload', 'result' }) do
    redis.call('PEXPIREAT', key(name, id), expires)
  end
  if v[1] == 'attribution' then
    redis.call('ZADD', key('expiring'), expires, v[2] .. ':' .. id)
  end
end

