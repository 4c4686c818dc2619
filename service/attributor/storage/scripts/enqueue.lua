-- Stores jobs and queues them, each unless its idempotency key already names one or the queue is full. A job whose answer
-- is known is born with it; one that is being computed for another follows that one (_common.lua).
-- KEYS: 1 namespace
-- ARGV: 1 most queued jobs, 2 lifetime of an idempotency key in ms, 3 lifetime of an unused answer in ms, then per job: id,
--       spec bytes, lifetime after the end in ms, idempotency key or '', fingerprint, kind, tenant, line, model, version,
--       digest of the version, number of inputs, deadline in ms after now or '', content key or '', desk at which the
--       answer is waited for or ''
-- Returns: per job {'created' | 'answered' | 'replayed' | 'conflict' | 'full', id}

local OF_JOB = 15
local n_jobs = (#ARGV - 3) / OF_JOB
local now = now_ms()
local queued = tonumber(redis.call('HGET', key('counters'), 'queued') or 0)
local last_seq -- taken when the first job is stored: whoever asks again is told of his job also where nothing can be written
local indexed = {}

local function stored(id, payload, ttl_ms, idem_key, fingerprint, kind, tenant, line, model, version, digest, n_inputs,
    deadline, content, desk)
  if redis.call('EXISTS', key('job', id)) == 1 then
    return { 'created', id } -- sent again because the first reply was lost
  end

  local idem = key('idem', tenant, idem_key)
  if idem_key ~= '' then
    local known = redis.call('HMGET', idem, 'id', 'fingerprint')
    -- A job that expired before its key cannot be answered with: the retry then makes a new one.
    if known[1] and redis.call('EXISTS', key('job', known[1])) == 1 then
      return { known[2] == fingerprint and 'replayed' or 'conflict', known[1] }
    end
  end

  content = content ~= '' and content
  local result = content and kept_answer(content, tonumber(ARGV[3]))
  if not result then
    if queued >= tonumber(ARGV[1]) then
      return { 'full', id }
    end
    queued = queued + 1
    count('queued', 1)
  end

  last_seq = (last_seq or redis.call('INCRBY', key('seq'), n_jobs) - n_jobs) + 1
  local seq = last_seq
  local fields = { 'state', 'queued', 'kind', kind, 'tenant', tenant, 'priority', line, 'model', model,
    'version', version, 'digest', digest, 'n_inputs', n_inputs, 'seq', seq, 'attempts', 0,
    'created_ms', now, 'ttl_ms', ttl_ms, 'revision', 1 }
  local function field(name, value)
    fields[#fields + 1] = name
    fields[#fields + 1] = value
  end
  if idem_key ~= '' then
    field('idem', idem_key)
    redis.call('HSET', idem, 'id', id, 'fingerprint', fingerprint)
    redis.call('PEXPIRE', idem, ARGV[2])
  end
  if content then
    field('content', content)
  end
  if desk ~= '' then
    field('answer_to', desk)
  end
  local deadline_ms = deadline ~= '' and now + tonumber(deadline)
  if deadline_ms and not result then
    field('deadline_ms', deadline_ms)
    redis.call('ZADD', key('deadlines'), deadline_ms, id)
  end
  redis.call('HSET', key('job', id), unpack(fields))
  redis.call('SET', key('payload', id), payload)
  if kind == 'attribution' then
    local index = indexed[tenant] or {}
    indexed[tenant] = index
    index[#index + 1] = seq
    index[#index + 1] = id
  end

  if result then
    settle(read(id), 'succeeded', result, 'started_ms', now, 'cached', 1)
    return { 'answered', id }
  end

  if content then
    local flight = redis.call('GET', key('flight', content))
    local other = flight and read(flight)
    if not other then
      redis.call('SET', key('flight', content), id)
    else
      local gain = rank(other.priority, 0) - rank(line, 0)
      local in_time = not is_sooner(other.deadline_ms, deadline_ms)
      if gain <= 0 and in_time then
        follow(id, content, line, seq)
        return { 'created', id }
      end
      -- Those who follow the other may follow this one, unless it has less time or a worse priority.
      if gain >= 0 and not is_sooner(deadline_ms, other.deadline_ms) then
        redis.call('SET', key('flight', content), id)
        if gain > 0 and other.state == 'queued' then
          redis.call('ZREM', key('ready', other.priority, tenant), flight)
          restamp(other.priority, tenant)
          follow(flight, content, other.priority, other.seq)
        end
      end
    end
  end
  -- Nobody can have heard of it yet: a new job has no event.
  make_ready(id, line, tenant, seq)
  return { 'created', id }
end

local said = {}
for i = 4, #ARGV, OF_JOB do
  said[#said + 1] = stored(unpack(ARGV, i, i + OF_JOB - 1))
end
for tenant, index in pairs(indexed) do
  redis.call('ZADD', key('index', tenant), unpack(index))
end
return tell(said)
