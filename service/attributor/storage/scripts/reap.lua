#!lua flags=allow-oom
-- Takes jobs from workers whose lease ran out: cancelled if that was asked, else queued again before all later jobs. Who
-- killed a worker is not known, only who was there: a job that was there too often is computed alone from then on, and
-- one that is lost alone is put into quarantine, as failed. Fails queued jobs whose time is over. Prunes what has expired.
-- Measures what is done in a second.
-- KEYS: 1 namespace
-- ARGV: 1 most attempts, 2 most entries to treat in this call, 3 failure bytes of a job put into quarantine, 4 those of a
--       late one, 5 lease in ms
-- Returns: the ids taken from workers

local now = now_ms()
local function due(name)
  return redis.call('ZRANGEBYSCORE', key(name), '-inf', now, 'LIMIT', 0, ARGV[2])
end

local function quarantine(job, failure)
  settle(job, 'failed', nil, 'failure', failure, 'quarantined', 1)
  redis.call('ZADD', key('quarantine'), job.expires_ms, job.id)
  count('quarantined', 1)
  if job.content then -- whoever asks the same meets the same end
    answer_others(job, 'failed', nil, failure)
  end
end

-- Counters that an earlier release did not keep, while its workers took jobs beside ours, are right again once no job waits.
local function mend_counters()
  local counters = redis.call('HMGET', key('counters'), 'queued', 'cost')
  if tonumber(counters[1] or 0) == 0 and tonumber(counters[2] or 0) ~= 0 then
    redis.call('DEL', key('costs'), key('queued_of'))
    redis.call('HDEL', key('counters'), 'cost')
    for _, priority in ipairs(PRIORITIES) do
      redis.call('HDEL', key('counters'), 'cost:' .. priority, 'cost:' .. COMPARISON_LINE .. priority)
    end
  end
end

-- While jobs wait, what is done in a second is what the workers can do; so long at least is counted.
local PACE_MS = 5000
local function measure_pace()
  local known = redis.call('HMGET', key('pace'), 'at_ms', 'done', 'per_s')
  local counters = redis.call('HMGET', key('counters'), 'done', 'queued')
  local done, queued = tonumber(counters[1] or 0), tonumber(counters[2] or 0)
  local passed_ms = now - tonumber(known[1] or 0)
  if queued == 0 or not known[1] then
    redis.call('HSET', key('pace'), 'at_ms', now, 'done', done)
  elseif passed_ms >= PACE_MS then
    local per_s = 1000 * (done - tonumber(known[2])) / passed_ms
    if known[3] then
      per_s = (per_s + tonumber(known[3])) / 2
    end
    redis.call('HSET', key('pace'), 'at_ms', now, 'done', done, 'per_s', per_s)
  end
end

-- Where nobody has looked for so long, the server was away, or all workers: leases ran out that could not be renewed. Who
-- still computes gets as long as a lease to say so.
local AWAY_MS = 3000
local function was_away()
  local looked_ms = tonumber(redis.call('HGET', key('pace'), 'looked_ms') or now)
  redis.call('HSET', key('pace'), 'looked_ms', now)
  return now - looked_ms > AWAY_MS
end

mend_counters()
local lost = due('leases')
if was_away() then
  for _, id in ipairs(lost) do
    redis.call('ZADD', key('leases'), now + ARGV[5], id)
  end
  lost = {}
end
for _, id in ipairs(lost) do
  local job = read(id)
  take_from_worker(job)
  if job.cancel then
    settle(job, 'cancelled')
    leave_flight(job)
  elseif job.alone and tonumber(job.attempts) >= tonumber(ARGV[1]) then
    quarantine(job, ARGV[3])
  else
    count('redelivered', 1)
    if not job.suspect and tonumber(job.attempts) >= tonumber(ARGV[1]) - 1 then
      redis.call('HSET', job.key, 'suspect', 1)
      job.suspect = '1'
    end
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

redis.call('ZREMRANGEBYSCORE', key('quarantine'), '-inf', now)
measure_pace()

for _, member in ipairs(due('expiring')) do
  local tenant, id = string.match(member, '^(.*):([^:]*)$')
  redis.call('ZREM', key('index', tenant), id)
  redis.call('ZREM', key('expiring'), member)
end
return tell(lost)
