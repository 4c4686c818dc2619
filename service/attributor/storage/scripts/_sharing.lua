-- Jobs that ask for the same (equal field `content`: the digest of all that the answer depends on, and of the tenant)
-- share one computation and its answer.
--   * The job named by `flight` is computed; those in `followers` are queued in no line and wait for its end.
--   * Who comes with a better priority than the flight's job is computed and becomes the flight; an earlier one
--     that still waits then follows it, one that runs goes on, and whichever ends first answers all.
--   * Nobody follows a job that has less than half of its own time left. Who comes and may not follow is computed beside the flight.
--   * A result answers all of them and is kept; a failure that the same question would meet again ends them too; after
--     any other end (cancelled, lost, out of time) the best of the followers becomes the flight.
--   * Every job gets a copy, so one script hands out SHARED_TOTAL bytes and SHARED_MOST copies at most. The best of the
--     followers that are left then becomes the flight, and is answered with the others when it is claimed.
--   * A result of more than SHARED_LARGEST bytes is neither kept nor handed out: copies of it would fill the store with
--     what small requests asked for. Its followers are queued as jobs of their own.

-- Whether a deadline, false where there is none, leaves less than half of the time that another leaves. (With any less
-- time, no two who ask the same with the same deadline would share: the later one has always more.)
local function is_sooner(deadline_ms, other_ms)
  return deadline_ms and (not other_ms or 2 * (deadline_ms - now_ms()) < other_ms - now_ms())
end

local function follow(id, content, line, seq)
  redis.call('HSET', key('job', id), 'follows', 1)
  redis.call('ZADD', key('followers', content), rank(line, seq), id)
end

-- Takes a job that waits out of where it waits: a line, or the followers.
local function take_from_queue(job)
  if job.follows then
    redis.call('HDEL', job.key, 'follows')
    redis.call('ZREM', key('followers', job.content), job.id)
  else
    unready(job)
  end
  if job.deadline_ms then
    redis.call('ZREM', key('deadlines'), job.id)
  end
  count_queued(job, -1)
end

-- Takes the best of the followers, if there are any, and puts it in its line.
local function line_up(content)
  local best = redis.call('ZPOPMIN', key('followers', content))[1]
  if best then
    local job = read(best)
    redis.call('HDEL', job.key, 'follows')
    make_ready(job)
  end
  return best
end

-- The best of the followers becomes the flight.
local function next_flight(content)
  local best = line_up(content)
  if best then
    redis.call('SET', key('flight', content), best)
  else
    redis.call('DEL', key('flight', content))
  end
end

-- A job leaves without an answer that the others could have.
local function leave_flight(job)
  if job.content and redis.call('GET', key('flight', job.content)) == job.id then
    next_flight(job.content)
  end
end

-- A job leaves with an answer too large for the others: each is computed by itself (as many as a script may move).
local function disband(job)
  if redis.call('GET', key('flight', job.content)) ~= job.id then
    return
  end
  for _ = 1, SHARED_MOST do
    local id = line_up(job.content)
    if not id then
      break
    end
    redis.call('HDEL', key('job', id), 'content')
  end
  next_flight(job.content)
end

-- Ends a job that waits, with what was found for another.
local function answer(id, state, result, failure)
  local job = read(id)
  take_from_queue(job)
  if state == 'succeeded' then
    settle(job, state, result, 'started_ms', now_ms(), 'cached', 1)
  else
    settle(job, state, nil, 'started_ms', now_ms(), 'cached', 1, 'failure', failure)
  end
end

-- What this script may still hand out.
local bytes_left, copies_left = SHARED_TOTAL, SHARED_MOST

-- Whether one more copy of that many bytes may be handed out; counts it if so.
local function may_copy(bytes)
  if copies_left < 1 or bytes_left < bytes then
    return false
  end
  bytes_left, copies_left = bytes_left - bytes, copies_left - 1
  return true
end

-- Whether any answer that is kept may still be handed out.
local function may_answer()
  return copies_left > 0 and bytes_left >= SHARED_LARGEST
end

-- A job, computed or answered, ended with something that answers the others, too.
local function answer_others(job, state, result, failure)
  local flight = redis.call('GET', key('flight', job.content))
  if flight ~= job.id and state ~= 'succeeded' then
    return
  end
  local bytes = #(state == 'succeeded' and result or failure)
  for _, follower in ipairs(redis.call('ZRANGE', key('followers', job.content), 0, SHARED_MOST - 1)) do
    if not may_copy(bytes) then
      break
    end
    answer(follower, state, result, failure)
  end
  if flight and flight ~= job.id and redis.call('HGET', key('job', flight), 'state') == 'queued' and may_copy(bytes) then
    answer(flight, state, result, failure)
    flight = job.id
  end
  if flight == job.id then
    next_flight(job.content)
  end
end

local function forget_answer(content)
  local kept = key('answer', content)
  if redis.call('ZREM', key('answers'), content) == 1 then
    redis.call('DECRBY', key('answers_bytes'), redis.call('STRLEN', kept) + ANSWER_OVERHEAD)
    redis.call('DEL', kept)
  end
end

-- The answer kept, if there is one; its time begins anew.
local function kept_answer(content, ttl_ms)
  local until_ms = redis.call('ZSCORE', key('answers'), content)
  if not until_ms or tonumber(until_ms) <= now_ms() then
    return false
  end
  redis.call('ZADD', key('answers'), now_ms() + ttl_ms, content)
  return redis.call('GET', key('answer', content))
end

-- Keeps an answer for whoever asks the same later; those that were asked for least recently give way.
local function keep_answer(content, result, most_bytes, ttl_ms)
  forget_answer(content)
  local bytes = #result + ANSWER_OVERHEAD
  if bytes > most_bytes or #result > SHARED_LARGEST then
    return
  end
  local total = redis.call('INCRBY', key('answers_bytes'), bytes)
  while total > most_bytes do
    forget_answer(redis.call('ZRANGE', key('answers'), 0, 0)[1])
    total = tonumber(redis.call('GET', key('answers_bytes')))
  end
  redis.call('SET', key('answer', content), result)
  redis.call('ZADD', key('answers'), now_ms() + ttl_ms, content)
end

