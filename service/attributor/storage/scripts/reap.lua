-- Takes jobs from workers whose lease ran out: cancelled if that was asked, failed after too many attempts, else
-- queued again before all later jobs. Prunes the index of expired jobs.
-- KEYS: 1 namespace
-- ARGV: 1 most attempts, 2 most entries to treat in this call, 3 failure bytes of a lost job
-- Returns: the ids taken

local now = now_ms()
local lost = redis.call('ZRANGEBYSCORE', key('leases'), '-inf', now, 'LIMIT', 0, ARGV[2])
for _, id in ipairs(lost) do
  local job = key('job', id)
  local v = redis.call('HMGET', job, 'attempts', 'tenant', 'priority', 'seq', 'cancel')
  take_from_worker(id)
  if v[5] then
    settle(id, 'cancelled')
  elseif tonumber(v[1]) >= tonumber(ARGV[1]) then
    redis.call('HSET', job, 'failure', ARGV[3])
    settle(id, 'failed')
  else
    queue_again(id, v[3], v[2], v[4])
  end
end

for _, member in ipairs(redis.call('ZRANGEBYSCORE', key('expiring'), '-inf', now, 'LIMIT', 0, ARGV[2])) do
  local tenant, id = string.match(member, '^(.*):([^:]*)$')
  redis.call('ZREM', key('index', tenant), id)
  redis.call('ZREM', key('expiring'), member)
end
return lost
