#!lua flags=allow-oom
-- Takes jobs from workers whose lease ran out: cancelled if that was asked, failed after too many attempts, else
-- queued again before all later jobs. Fails queued jobs whose time is over. Prunes what has expired.
-- KEYS: 1 namespace
-- ARGV: 1 most attempts, 2 most entries to treat in this call, 3 failure bytes of a lost job, 4 those of a late one
-- Returns: the ids taken from workers

local now = now_ms()
local function due(name)
  return redis.call('ZRANGEBYSCORE', key(name), '-inf', now, 'LIMIT', 0, ARGV[2])
end

local lost = due('leases')
for _, id in ipairs(lost) do
  local job = read(id)
  take_from_worker(job)
  if job.cancel then
    settle(job, 'cancelled')
    leave_flight(job)
  elseif tonumber(job.attempts) >= tonumber(ARGV[1]) then
    settle(job, 'failed', nil, 'failure', ARGV[3])
    leave_flight(job)
  else
    queue_again(job, job.attempts)
  end
end

for _, id in ipairs(due('deadlines')) do
  local job = read(id)
  take_from_queue(job)
  settle(job, 'failed', nil, 'failure', ARGV[4])
  leave_flight(job)
end

for _, content in ipairs(due('answers')) do
  forget_answer(content)
end

for _, member in ipairs(due('expiring')) do
  local tenant, id = string.match(member, '^(.*):([^:]*)$')
  redis.call('ZREM', key('index', tenant), id)
  redis.call('ZREM', key('expiring'), member)
end
return tell(lost)
