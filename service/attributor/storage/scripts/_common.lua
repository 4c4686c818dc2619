-- Stands before every script, after the constants written by keys.py: key names, the clock, and the steps that
-- several scripts take. Calls of the server are what a script costs, so a job is read by one and written by one.
-- A job's field `priority` holds its line (keys.py), which begins with COMPARISON_LINE for a comparator's.
-- KEYS: 1 the namespace, "{attributor}:"; all keys are built from it and share its hash tag.

local function key(name, part, other)
  if other then
    return KEYS[1] .. NAMES[name] .. part .. ':' .. other
  end
  return KEYS[1] .. NAMES[name] .. (part or '')
end

-- The server's clock, so that workers' clocks need not agree.
local clock_ms
local function now_ms()
  if not clock_ms then
    local time = redis.call('TIME')
    clock_ms = time[1] * 1000 + math.floor(time[2] / 1000)
  end
  return clock_ms
end

-- Every script that may change a job returns by tell(), and what several of its jobs have in common is done there, once:
-- the counters, the leases that end, what will expire, the bells that ring; and all changes are one entry of the stream
-- (all as few as Lua's stack allows).
local counted, unleased, expiring, news, rings = {}, {}, {}, {}, {}
local ring_bell

local function count(name, by)
  counted[name] = (counted[name] or 0) + by
end

local function announce(id, state)
  news[#news + 1] = id
  news[#news + 1] = state
end

local function tell(reply)
  local function call(words, ...)
    for i = 1, #words, 1000 do
      local command = { ... }
      for j = i, math.min(i + 999, #words) do
        command[#command + 1] = words[j]
      end
      redis.call(unpack(command))
    end
  end
  for name, by in pairs(counted) do
    redis.call('HINCRBY', key('counters'), name, by)
  end
  call(unleased, 'ZREM', key('leases'))
  call(expiring, 'ZADD', key('expiring'))
  call(news, 'XADD', key('events'), 'MAXLEN', '~', EVENTS_KEPT, '*')
  for prefix, times in pairs(rings) do
    repeat
      times = times - 1
    until not ring_bell(prefix) or times == 0
  end
  return reply
end

local READ = { 'tenant', 'state', 'kind', 'priority', 'seq', 'token', 'cancel', 'revision', 'attempts', 'ttl_ms',
  'created_ms', 'deadline_ms', 'content', 'follows', 'published', 'expires_ms', 'idem', 'started_ms', 'answer_to' }

-- A job's fields, all or those named; false for those that it has not. Without a tenant there is no such job.
local function read(id, names)
  names = names or READ
  local job = { id = id, key = key('job', id) }
  local values = redis.call('HMGET', job.key, unpack(names))
  for i, name in ipairs(names) do
    job[name] = values[i]
  end
  return job
end

-- Writes a visible change of a job: its state, and fields and values in turn.
local function change(job, state, ...)
  job.state, job.revision = state, job.revision + 1
  redis.call('HSET', job.key, 'state', state, 'revision', job.revision, ...)
  announce(job.id, state)
end

-- Seqs by ring and tenant that this script put there.
local stamped = {}

-- Puts the tenant where its first queued job belongs, or takes it out of the ring.
local function restamp(line, tenant)
  local ring = key('ring', line)
  stamped[ring .. tenant] = nil
  local first = redis.call('ZRANGE', key('ready', line, tenant), 0, 0, 'WITHSCORES')
  if #first == 0 then
    redis.call('ZREM', ring, tenant)
  else
    redis.call('ZADD', ring, first[2], tenant)
  end
end

local function wake(name)
  redis.call('RPUSH', key('bell', name), '')
  redis.call('PEXPIRE', key('bell', name), WAITING_MS) -- if nobody hears it
end

local function no_longer_waits(name)
  redis.call('ZREM', key('waiting', ''), name)
  redis.call('ZREM', key('waiting', COMPARISON_LINE), name)
  redis.call('DEL', key('bell', name))
  redis.call('HDEL', key('rung'), name)
end

-- Wakes one of those that wait for jobs of lines with such a prefix (wait.lua), unless one that waits keenly is on its
-- way, who takes what it can and wakes another for the rest. Returns whether to ring once more could wake another.
function ring_bell(prefix)
  while true do
    local worker = redis.call('ZREVRANGE', key('waiting', prefix), 0, 0, 'WITHSCORES')
    if #worker == 0 then
      return false
    end
    local name, since_ms = worker[1], tonumber(worker[2])
    local rung_ms = tonumber(redis.call('HGET', key('rung'), name) or 0)
    if rung_ms > now_ms() - ON_ITS_WAY_MS then
      return false
    end
    local is_there = rung_ms == 0 and math.abs(since_ms) > now_ms() - WAITING_MS -- else it has gone without a word
    if not is_there or since_ms < 0 then
      no_longer_waits(name)
    else
      redis.call('HSET', key('rung'), name, now_ms())
    end
    if is_there then
      wake(name)
      return since_ms < 0
    end
  end
end

-- Whether no job waits in lines with such a prefix.
local function is_empty(prefix)
  for _, priority in ipairs(PRIORITIES) do
    if redis.call('EXISTS', key('ring', prefix .. priority)) == 1 then
      return false
    end
  end
  return true
end

-- The seq of a job never changes, so a job queued again stands before all later ones of its tenant.
local function make_ready(id, line, tenant, seq)
  redis.call('ZADD', key('ready', line, tenant), seq, id)
  local ring = key('ring', line)
  local known = stamped[ring .. tenant]
  if not known or tonumber(seq) < known then
    redis.call('ZADD', ring, 'LT', seq, tenant)
    stamped[ring .. tenant] = tonumber(seq)
  end
  local prefix = string.match(line, '^%D*')
  rings[prefix] = (rings[prefix] or 0) + 1
end

-- Ends a lease, whatever becomes of its job.
local function take_from_worker(job)
  unleased[#unleased + 1] = job.id
  count('running', -1)
end

-- Puts a job that no worker holds any more back where it stood.
local function queue_again(job, attempts)
  if job.published then
    redis.call('DEL', key('partial', job.id))
  end
  redis.call('HDEL', job.key, 'token', 'started_ms', 'evaluations', 'completeness_error', 'inputs_done', 'published')
  if job.deadline_ms then
    redis.call('ZADD', key('deadlines'), job.deadline_ms, job.id)
  end
  change(job, 'queued', 'attempts', attempts)
  count('queued', 1)
  make_ready(job.id, job.priority, job.tenant, job.seq)
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
  redis.call('PEXPIREAT', key('payload', job.id), expires)
  if state == 'succeeded' then
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

local function rank(line, seq)
  return tonumber(string.match(line, '%d+$')) * 2 ^ 48 + seq
end

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
    redis.call('ZREM', key('ready', job.priority, job.tenant), job.id)
    restamp(job.priority, job.tenant)
  end
  if job.deadline_ms then
    redis.call('ZREM', key('deadlines'), job.id)
  end
  count('queued', -1)
end

-- Takes the best of the followers, if there are any, and puts it in its line.
local function line_up(content)
  local best = redis.call('ZPOPMIN', key('followers', content))[1]
  if best then
    local job = read(best)
    redis.call('HDEL', job.key, 'follows')
    make_ready(best, job.priority, job.tenant, job.seq)
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

