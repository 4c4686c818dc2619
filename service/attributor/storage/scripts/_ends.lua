-- What becomes of a job that no worker holds any more.

-- Ends a lease, whatever becomes of its job.
local function take_from_worker(job)
  unleased[#unleased + 1] = job.id
  count('running', -1)
end

-- Puts a job that no worker holds any more back where it stood; its tenant gets back what it took for it.
local function queue_again(job, attempts)
  if job.published then
    redis.call('DEL', key('partial', job.id))
  end
  redis.call('HDEL', job.key, 'token', 'started_ms', 'evaluations', 'completeness_error', 'inputs_done', 'published',
    'alone')
  if job.deadline_ms then
    redis.call('ZADD', key('deadlines'), job.deadline_ms, job.id)
  end
  change(job, 'queued', 'attempts', attempts)
  count_queued(job, 1)
  make_ready(job)
  if not job.suspect then
    redis.call('ZINCRBY', key('ring', job.priority), exactly(-charge_of(job)), job.tenant)
  end
end

-- Ends a job that is in no queue and under no lease: state, event, lifetime. `result`: bytes, of a success.
local function settle(job, state, result, ...)
  local now = now_ms()
  local expires = now + tonumber(job.ttl_ms)
  job.finished_ms, job.expires_ms = now, expires
  change(job, state, 'finished_ms', now, 'expires_ms', expires, ...)
  if job.cancel then
    redis.call('HDEL', job.key, 'cancel')
  end
  redis.call('PEXPIREAT', job.key, expires)
  redis.call('PEXPIREAT', job.payload_at and key('pieces', job.id) or key('payload', job.id), expires)
  if state == 'succeeded' and result then
    redis.call('SET', key('result', job.id), result, 'PXAT', expires)
  end
  if job.published and state == 'succeeded' then
    redis.call('DEL', key('partial', job.id))
  elseif job.published then -- what it had by then stays readable, but no guesses at what it had not
    redis.call('HDEL', key('partial', job.id), 'estimates')
    redis.call('PEXPIREAT', key('partial', job.id), expires)
  end
  if job.kind == 'attribution' then
    expiring[#expiring + 1] = expires
    expiring[#expiring + 1] = job.tenant .. ':' .. job.id
  end
end
