-- Cancels a queued job at once; tells a running one to stop.
-- KEYS: 1 namespace
-- ARGV: 1 id, 2 tenant
-- Returns: 'cancelled', 'running', or the terminal state it already had; nil if the tenant has no such job

local id = ARGV[1]
local job = key('job', id)
local v = redis.call('HMGET', job, 'tenant', 'state', 'priority', 'cancel')
if v[1] ~= ARGV[2] then
  return false
end
if v[2] == 'queued' then
  redis.call('ZREM', key('ready', v[3], v[1]), id)
  restamp(v[3], v[1])
  count('queued', -1)
  settle(id, 'cancelled')
  return 'cancelled'
end
if v[2] == 'running' and not v[4] then
  redis.call('HSET', job, 'cancel', 1)
  changed(id, 'running')
end
return v[2]
