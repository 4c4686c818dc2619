-- Takes queued jobs under fresh leases: by priority, then in the order they came; the engine's first, then comparators'.
-- One whose answer is known by now is answered instead, and its followers with it, as far as one script may.
-- KEYS: 1 namespace
-- ARGV: 1 most jobs of the engine to take, 2 how many more of the first priority, 3 most of comparators, 4 lease in ms,
--       5 nonce of this claim (the same when it is sent again), 6 lifetime of an unused answer in ms,
--       7 under which name who claims waits (wait.lua),
--       8 '1' if it comes back at once: if it takes all there is, what is queued meanwhile wakes nobody else
-- Returns: a list of {id, token, spec bytes, created_ms, started_ms}

local lease_ms, nonce = tonumber(ARGV[4]), ARGV[5]
local record = key('claim', nonce)
local now = now_ms()
local ids, leases, out = {}, {}, {}

-- What is read of a job that is taken.
local OF_TAKEN = { 'state', 'attempts', 'revision', 'created_ms', 'deadline_ms', 'content' }

local function take(job)
  local attempt = job.attempts + 1
  job.token = nonce .. ':' .. attempt
  change(job, 'running', 'token', job.token, 'attempts', attempt, 'started_ms', now)
  if job.deadline_ms then
    redis.call('ZREM', key('deadlines'), job.id)
  end
  ids[#ids + 1] = job.id
  leases[#leases + 1] = now + lease_ms
  leases[#leases + 1] = job.id
end

local function hand_out(job, started_ms)
  out[#out + 1] = { job.id, job.token, redis.call('GET', key('payload', job.id)), job.created_ms, started_ms }
end

-- Whether a job just taken from its line is answered with what is kept.
local function is_answered(job)
  local result = job.content and kept_answer(job.content, tonumber(ARGV[6]))
  if not result then
    return false
  end
  job = read(job.id)
  may_copy(#result) -- counted
  if job.deadline_ms then
    redis.call('ZREM', key('deadlines'), job.id)
  end
  count('queued', -1)
  settle(job, 'succeeded', result, 'started_ms', now, 'cached', 1)
  answer_others(job, 'succeeded', result)
  return true
end

-- Whoever waits takes what is left; also where this claim could not go through all of it.
local function take_from_lines(prefix, limit, urgent)
  local left = limit + urgent
  for rank, priority in ipairs(PRIORITIES) do
    local line = prefix .. priority
    if rank == 2 then
      left = math.min(left, limit) -- urgent ones take the places that are theirs first
    end
    while left > 0 and may_answer() do
      local tenants = redis.call('ZRANGE', key('ring', line), 0, 1)
      if #tenants == 0 then
        break
      end
      -- Of several tenants, each in its turn.
      local ready = key('ready', line, tenants[1])
      local popped = redis.call('ZPOPMIN', ready, #tenants == 1 and left or 1)
      for i = 1, #popped, 2 do
        local job = read(popped[i], OF_TAKEN)
        if job.state ~= 'queued' then
          -- answered beside one before it
        elseif not may_answer() then
          redis.call('ZADD', ready, popped[i + 1], job.id)
        elseif not is_answered(job) then
          take(job)
          hand_out(job, string.format('%.0f', now))
          left = left - 1
        end
      end
      restamp(line, tenants[1])
    end
  end
  if (left == 0 or not may_answer()) and not is_empty(prefix) then
    ring_bell(prefix)
  end
end

no_longer_waits(ARGV[7])

-- A repetition finds what the first call took; without that, a lost reply would cost each job an attempt.
local taken = redis.call('LRANGE', record, 0, -1)
for _, id in ipairs(taken) do
  local job = read(id)
  if job.state == 'running' and string.sub(job.token, 1, #nonce + 1) == nonce .. ':' then
    hand_out(job, redis.call('HGET', job.key, 'started_ms'))
  end
end
if #taken == 0 then
  take_from_lines('', tonumber(ARGV[1]), tonumber(ARGV[2]))
  take_from_lines(COMPARISON_LINE, tonumber(ARGV[3]), 0)
  if ARGV[8] == '1' and is_empty('') then
    redis.call('ZADD', key('waiting', ''), now, ARGV[7])
    redis.call('HSET', key('rung'), ARGV[7], now)
  end
end
if #ids > 0 then
  redis.call('ZADD', key('leases'), unpack(leases))
  count('queued', -#ids)
  count('running', #ids)
  redis.call('RPUSH', record, unpack(ids))
  redis.call('PEXPIRE', record, lease_ms)
end
return tell(out)
