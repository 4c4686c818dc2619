-- Stores a job and queues it, unless its idempotency key already names one or the queue is full. A job whose answer is
-- known is born with it; one that is being computed for another follows that one (_common.lua).
-- KEYS: 1 namespace
-- ARGV: 1 id, 2 spec bytes, 3 lifetime after the end in ms, 4 most queued jobs, 5 idempotency key or '',
--       6 lifetime of that key in ms, 7 fingerprint, 8 kind, 9 tenant, 10 line, 11 model, 12 version,
--       13 digest of the version, 14 number of inputs, 15 deadline in ms after now or '', 16 content key or '',
--       17 lifetime of an unused answer in ms, 18 desk at which the answer is waited for or ''
-- Returns: {'created' | 'answered' | 'replayed' | 'conflict' | 'full', id}

local id, tenant, line = ARGV[1], ARGV[9], ARGV[10]
if redis.call('EXISTS', key('job', id)) == 1 then
  return { 'created', id } -- sent again because the first reply was lost
end

local idem = key('idem', tenant, ARGV[5])
if ARGV[5] ~= '' then
  local known = redis.call('HMGET', idem, 'id', 'fingerprint')
  -- A job that expired before its key cannot be answered with: the retry then makes a new one.
  if known[1] and redis.call('EXISTS', key('job', known[1])) == 1 then
    return { known[2] == ARGV[7] and 'replayed' or 'conflict', known[1] }
  end
end

local now = now_ms()
local content = ARGV[16] ~= '' and ARGV[16]
local result = content and kept_answer(content, tonumber(ARGV[17]))
if not result and redis.call('HINCRBY', key('counters'), 'queued', 1) > tonumber(ARGV[4]) then
  count('queued', -1)
  return tell({ 'full', id })
end

local seq = redis.call('INCR', key('seq'))
local fields = { 'state', 'queued', 'kind', ARGV[8], 'tenant', tenant, 'priority', line, 'model', ARGV[11],
  'version', ARGV[12], 'digest', ARGV[13], 'n_inputs', ARGV[14], 'seq', seq, 'attempts', 0,
  'created_ms', now, 'ttl_ms', ARGV[3], 'revision', 1 }
local function field(name, value)
  fields[#fields + 1] = name
  fields[#fields + 1] = value
end
if ARGV[5] ~= '' then
  field('idem', ARGV[5])
  redis.call('HSET', idem, 'id', id, 'fingerprint', ARGV[7])
  redis.call('PEXPIRE', idem, ARGV[6])
end
if content then
  field('content', content)
end
if ARGV[18] ~= '' then
  field('answer_to', ARGV[18])
end
local deadline_ms = ARGV[15] ~= '' and now + tonumber(ARGV[15])
if deadline_ms and not result then
  field('deadline_ms', deadline_ms)
  redis.call('ZADD', key('deadlines'), deadline_ms, id)
end
redis.call('HSET', key('job', id), unpack(fields))
redis.call('SET', key('payload', id), ARGV[2])
if ARGV[8] == 'attribution' then
  redis.call('ZADD', key('index', tenant), seq, id)
end

if result then
  settle(read(id), 'succeeded', result, 'started_ms', now, 'cached', 1)
  return tell({ 'answered', id })
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
