-- Stores jobs and queues them, each unless its idempotency key already names one or the queue is full. A job whose answer
-- is known is born with it; one that is being computed for another follows that one (_common.lua).
-- KEYS: 1 namespace
-- ARGV: 1 most jobs and 2 most evaluations that wait, 3 and 4 those of one tenant, 5 lifetime of an idempotency key in
--       ms, 6 lifetime of an unused answer in ms, then per job: id, spec bytes or '' if they lie in pieces, lifetime after the end in
--       ms, idempotency key or '', fingerprint, kind, tenant, line, model, version, digest of the version, number of inputs,
--       deadline in ms after now or '', content key or '', desk at which the answer is waited for or '', evaluations that it
--       is expected to take, its tenant's weight, most evaluations of its tenant that wait or '', evaluations that its
--       tenant may ask for within an hour or '', where the spec lies in pieces or ''
-- Returns: per job {'created' | 'answered' | 'replayed' | 'conflict', id}, or {'full' | 'tenant_full' | 'quota', ms after
--          which it is worth to ask again}

local OF_JOB = 20
local FIRST = 7
local HOUR_MS = 3600000
local n_jobs = (#ARGV - FIRST + 1) / OF_JOB
local now = now_ms()
local before = redis.call('HMGET', key('counters'), 'queued', 'cost')
local queued, cost_queued = tonumber(before[1] or 0), tonumber(before[2] or 0)
local last_seq -- taken when the first job is stored: whoever asks again is told of his job also where nothing can be written
local indexed = {}
local asked = key('asked', math.floor(now / HOUR_MS))

-- How long so many evaluations take, as fast as jobs were done of late.
local function done_in_ms(evaluations)
  local pace = tonumber(redis.call('HGET', key('pace'), 'per_s') or 0)
  return pace > 0 and math.min(math.floor(1000 * evaluations / pace), SLOWEST_MS) or SLOWEST_MS
end

-- What waits of a tenant, with what this script adds to it.
local waits = {}
local function waits_of(tenant)
  if not waits[tenant] then
    waits[tenant] = {
      jobs = tonumber(redis.call('HGET', key('queued_of'), tenant) or 0),
      cost = tonumber(redis.call('HGET', key('costs'), tenant) or 0),
    }
  end
  return waits[tenant]
end

-- Why a job cannot be taken, if it cannot, and when it may be. Urgent ones do not wait behind the others, so these cannot
-- take all the room.
local function refused(line, tenant, cost, most_of_tenant, quota)
  local room = line:sub(-1) == '0' and 1 + ROOM_OF_URGENT or 1
  if queued >= tonumber(ARGV[1]) * room or cost_queued >= tonumber(ARGV[2]) * room then
    return { 'full', done_in_ms(cost_queued) }
  end
  local own = waits_of(tenant)
  local most_cost = tonumber(most_of_tenant ~= '' and most_of_tenant or ARGV[4])
  if own.jobs >= tonumber(ARGV[3]) * room or own.cost >= most_cost * room then
    return { 'tenant_full', done_in_ms(own.cost) }
  end
  if quota ~= '' then
    local so_far = tonumber(redis.call('HGET', asked, tenant) or 0)
    if so_far + cost > tonumber(quota) then
      return { 'quota', HOUR_MS - now % HOUR_MS }
    end
    redis.call('HINCRBY', asked, tenant, cost)
    redis.call('PEXPIRE', asked, HOUR_MS)
  end
  queued, cost_queued = queued + 1, cost_queued + cost
  own.jobs, own.cost = own.jobs + 1, own.cost + cost
  return false
end

local function stored(id, payload, ttl_ms, idem_key, fingerprint, kind, tenant, line, model, version, digest, n_inputs,
    deadline, content, desk, cost, weight, most_of_tenant, quota, payload_at)
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
  local result = content and kept_answer(content, tonumber(ARGV[6]))
  if not result then
    local refusal = refused(line, tenant, tonumber(cost), most_of_tenant, quota)
    if refusal then
      return refusal
    end
    count_queued({ tenant = tenant }, 1)
  end

  last_seq = (last_seq or redis.call('INCRBY', key('seq'), n_jobs) - n_jobs) + 1
  local seq = last_seq
  local fields = { 'state', 'queued', 'kind', kind, 'tenant', tenant, 'priority', line, 'model', model,
    'version', version, 'digest', digest, 'n_inputs', n_inputs, 'seq', seq, 'attempts', 0,
    'created_ms', now, 'ttl_ms', ttl_ms, 'revision', 1, 'cost', cost }
  local function field(name, value)
    fields[#fields + 1] = name
    fields[#fields + 1] = value
  end
  if idem_key ~= '' then
    field('idem', idem_key)
    redis.call('HSET', idem, 'id', id, 'fingerprint', fingerprint)
    redis.call('PEXPIRE', idem, ARGV[5])
  end
  if content then
    field('content', content)
  end
  if desk ~= '' then
    field('answer_to', desk)
  end
  if payload == '' then
    field('payload_at', payload_at)
  end
  if weight ~= '1' then
    field('weight', weight)
  end
  local deadline_ms = deadline ~= '' and now + tonumber(deadline)
  if deadline_ms and not result then
    field('deadline_ms', deadline_ms)
    redis.call('ZADD', key('deadlines'), deadline_ms, id)
  end
  redis.call('HSET', key('job', id), unpack(fields))
  if payload ~= '' then
    redis.call('SET', key('payload', id), payload)
  else
    redis.call('PERSIST', key('pieces', id))
  end
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
          unready(other)
          follow(flight, content, other.priority, other.seq)
        end
      end
    end
  end
  -- Nobody can have heard of it yet: a new job has no event.
  make_ready({ id = id, priority = line, tenant = tenant, seq = seq, cost = cost })
  return { 'created', id }
end

local said = {}
for i = FIRST, #ARGV, OF_JOB do
  said[#said + 1] = stored(unpack(ARGV, i, i + OF_JOB - 1))
end
for tenant, index in pairs(indexed) do
  redis.call('ZADD', key('index', tenant), unpack(index))
end
return tell(said)
