#!lua flags=allow-oom
-- Records the ends of running jobs whose tokens still hold. A cancelled job's result is dropped.
-- KEYS: 1 namespace
-- ARGV: 1 most bytes of answers kept for those who ask the same, 2 lifetime of an unused one in ms, then per job: id,
--       token, state, result bytes or '', where a large result lies (large_results.py) or '', failure bytes or '', '1' if
--       whoever asks the same meets the same end, else ''
-- Returns: per job 1 recorded (also when this token had recorded it before), 0 the lease was lost

-- Sends an answer to whoever waits for it. That nobody hears it, or may, does no harm: it can be fetched.
local function send(job, result)
  local what = { job.id, job.revision, job.attempts, job.created_ms, job.started_ms, job.finished_ms, job.expires_ms, result }
  redis.pcall('PUBLISH', key('desk', job.answer_to), table.concat(what, ' '))
end

-- A result that lies elsewhere stays as long as its job. A file is kept by who wrote it.
local function settle_with(job, place)
  settle(job, 'succeeded', nil, 'result_at', place)
  redis.call('PEXPIREAT', key('pieces', string.match(place, '^%S+')), job.expires_ms)
end

local function finish(job, ended, result, place, failure, shared)
  local state = job.cancel and 'cancelled' or ended
  local is_large = state == 'succeeded' and place ~= ''
  take_from_worker(job)
  count('done', tonumber(job.cost or 1))
  if state == 'failed' then
    settle(job, state, nil, 'failure', failure)
  elseif is_large then
    settle_with(job, place)
  else
    settle(job, state, result)
  end
  if job.answer_to and state == 'succeeded' and not is_large and #result <= SENT_LARGEST then
    send(job, result)
  end
  if not job.content then
    return
  end
  if state == 'succeeded' and not is_large then
    keep_answer(job.content, result, tonumber(ARGV[1]), tonumber(ARGV[2]))
  end
  if is_large or state == 'succeeded' and #result > SHARED_LARGEST then
    disband(job)
  elseif state ~= 'cancelled' and shared == '1' then
    answer_others(job, state, result, failure)
  else
    leave_flight(job)
  end
end

local recorded = {}
for i = 3, #ARGV, 7 do
  local job = read(ARGV[i])
  if job.token == ARGV[i + 1] and job.state == 'running' then
    finish(job, unpack(ARGV, i + 2, i + 6))
  end
  recorded[#recorded + 1] = job.token == ARGV[i + 1] and 1 or 0
end
return tell(recorded)
