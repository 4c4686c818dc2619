-- Takes queued jobs under fresh leases, as much as there is room for: by priority, tenants of one in turn, each one's in
-- the order they came; the engine's first, then comparators'. A sixteenth of what a line gets goes to those below it.
-- One whose answer is known by now is answered instead, and its followers with it, as far as one script may.
-- A suspect (reap.lua) goes to a worker that holds nothing, and nothing with it. One that is busy may have to become such
-- a worker: the first that comes then takes only what is more urgent, until it holds nothing.
-- KEYS: 1 namespace
-- ARGV: 1 evaluations that the engine has room for, 2 most jobs of it: as many of the first priority are taken whatever
--       the room, 3 most of comparators, 4 lease in ms, 5 nonce of this claim (the same when it is sent again),
--       6 lifetime of an unused answer in ms, 7 under which name who claims waits (wait.lua),
--       8 '1' if it comes back at once: if it takes all there is, what is queued meanwhile wakes nobody else,
--       9 '1' if it holds no job
-- Returns: a list of {id, token, spec bytes, created_ms, started_ms, weight, '1' if it is to be computed alone else ''},
--          and 1 if who claims is to take nothing more until it holds nothing, else 0

local lease_ms, nonce, seat = tonumber(ARGV[4]), ARGV[5], ARGV[7]
local record = key('claim', nonce)
local now = now_ms()
local ids, leases, out = {}, {}, {}

-- What is read of a job that is taken.
local OF_TAKEN = { 'state', 'attempts', 'revision', 'created_ms', 'deadline_ms', 'content', 'cost', 'weight' }

local function hand_out(job, started_ms)
  out[#out + 1] = { job.id, job.token, redis.call('GET', key('payload', job.id)), job.created_ms, started_ms,
    job.weight or '1', job.alone and '1' or '' }
end

local function take(job)
  local attempt = job.attempts + 1
  job.token = nonce .. ':' .. attempt
  if job.alone then
    redis.call('HSET', job.key, 'alone', 1)
  end
  change(job, 'running', 'token', job.token, 'attempts', attempt, 'started_ms', now)
  if job.deadline_ms then
    redis.call('ZREM', key('deadlines'), job.id)
  end
  count_queued(job, -1)
  ids[#ids + 1] = job.id
  leases[#leases + 1] = now + lease_ms
  leases[#leases + 1] = job.id
  hand_out(job, string.format('%.0f', now))
end

-- Whether a job just taken from where it waited is answered with what is kept.
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
  count_queued(job, -1)
  settle(job, 'succeeded', result, 'started_ms', now, 'cached', 1)
  answer_others(job, 'succeeded', result)
  return true
end

local function is_waited_for(line)
  return redis.call('EXISTS', key('ring', line)) == 1
end

-- Whether jobs wait in lines below one.
local function waits_below(prefix, own)
  for _, priority in ipairs(PRIORITIES) do
    if priority > own and is_waited_for(prefix .. priority) then
      return true
    end
  end
  return false
end

-- Notes what a line gets while others below wait, and what these get while those above wait.
local function owe(prefix, own, cost)
  if waits_below(prefix, own) then
    redis.call('HINCRBYFLOAT', key('virtual'), 'owed:' .. prefix .. own, exactly(cost / ABOVE_TO_BELOW))
  end
  for _, priority in ipairs(PRIORITIES) do
    local field = 'owed:' .. prefix .. priority
    if priority < own and redis.call('HEXISTS', key('virtual'), field) == 1 then
      if is_waited_for(prefix .. priority) then
        redis.call('HINCRBYFLOAT', key('virtual'), field, exactly(-cost))
      else
        redis.call('HDEL', key('virtual'), field)
      end
    end
  end
end

-- The priority to be served next, of those up to the last one; nil if no job waits there.
local function next_priority(prefix, last)
  for _, priority in ipairs(PRIORITIES) do
    if priority <= last and is_waited_for(prefix .. priority) then
      local owed = tonumber(redis.call('HGET', key('virtual'), 'owed:' .. prefix .. priority) or 0)
      if owed < 1 or priority == last or not waits_below(prefix, priority) then
        return priority
      end
    end
  end
end

-- Takes jobs of the tenant whose turn it is: one; several where no other waits. Returns their number and cost.
local function take_from(line, most)
  local first = redis.call('ZRANGE', key('ring', line), 0, 1, 'WITHSCORES')
  local tenant, stood = first[1], tonumber(first[2])
  local ready = key('ready', line, tenant)
  local popped = redis.call('ZPOPMIN', ready, #first == 2 and math.min(most.jobs, math.ceil(most.cost)) or 1)
  local taken, cost, charge, all = 0, 0, 0, 0 -- all of their cost; `cost` is what of it counts now
  for i = 1, #popped, 2 do
    local job = read(popped[i], OF_TAKEN)
    job.tenant, job.priority = tenant, line
    if job.state ~= 'queued' then
      -- answered beside one before it
    elseif cost >= most.cost or not may_answer() then
      redis.call('ZADD', ready, popped[i + 1], job.id)
    else
      count_cost(job, -1)
      if not is_answered(job) then
        taken, cost = taken + 1, cost + math.min(tonumber(job.cost or 1), CLAIMED_AT_ONCE)
        charge = charge + charge_of(job)
        all = all + tonumber(job.cost or 1)
        take(job)
      end
    end
  end
  owe(string.match(line, '^%D*'), priority_of(line), all)
  if stood > ring_time(line) then
    redis.call('HSET', key('virtual'), line, exactly(stood))
  end
  if redis.call('EXISTS', ready) == 0 then
    leave_ring(line, tenant, stood + charge)
  else
    redis.call('ZADD', key('ring', line), exactly(stood + charge), tenant)
  end
  return taken, cost
end

-- `room`: cost of the jobs; `jobs`: their most; `last`: the lowest priority that is served; `first_anyway`: whether those
-- of the first are taken whatever the room. Whoever waits takes what is left; also where this claim could not go through
-- all of it.
local function take_from_lines(prefix, room, jobs, last, first_anyway)
  while jobs > 0 and may_answer() do
    local only_first = room <= 0
    if only_first and not first_anyway then
      break
    end
    local priority = next_priority(prefix, only_first and PRIORITIES[1] or last)
    if not priority then
      break
    end
    local anyway = first_anyway and priority == PRIORITIES[1]
    local taken, cost = take_from(prefix .. priority, { jobs = jobs, cost = anyway and math.huge or room })
    jobs, room = jobs - taken, room - (prefix == COMPARISON_LINE and taken or cost)
  end
  if (jobs <= 0 or room <= 0 or last < PRIORITIES[#PRIORITIES] or not may_answer()) and not is_empty(prefix) then
    ring_bell(prefix)
  end
end

-- Looks after the suspects. Returns the lowest priority of which other jobs may be taken: the last if none waits.
local function see_to_suspects()
  local lowest = PRIORITIES[#PRIORITIES]
  local best = redis.call('ZRANGE', key('suspects'), 0, 0, 'WITHSCORES')
  if #best == 0 then
    return lowest
  end
  local above = math.floor(tonumber(best[2]) / 2 ^ 48) - 1
  if ARGV[9] ~= '1' then
    local by = redis.call('GET', key('vacating'))
    if by and by ~= seat then
      return lowest
    end
    redis.call('SET', key('vacating'), seat, 'PX', lease_ms)
    return above
  end
  if next_priority('', above) then
    return above
  end
  local job = read(best[1])
  redis.call('ZREM', key('suspects'), job.id)
  count_cost(job, -1)
  if not is_answered(job) then
    job.alone = '1'
    take(job)
  end
  ring_bell('') -- for the others
  return nil
end

no_longer_waits(seat)

-- A repetition finds what the first call took; without that, a lost reply would cost each job an attempt.
local taken = redis.call('LRANGE', record, 0, -1)
for _, id in ipairs(taken) do
  local job = read(id)
  if job.state == 'running' and string.sub(job.token, 1, #nonce + 1) == nonce .. ':' then
    hand_out(job, redis.call('HGET', job.key, 'started_ms'))
  end
end
local lowest = PRIORITIES[#PRIORITIES]
local last = lowest
if #taken == 0 then
  last = see_to_suspects()
  if last then
    take_from_lines('', tonumber(ARGV[1]), tonumber(ARGV[2]), last, true)
    take_from_lines(COMPARISON_LINE, last == lowest and tonumber(ARGV[3]) or 0, tonumber(ARGV[3]), last, false)
  end
  if ARGV[8] == '1' and is_empty('') then
    redis.call('ZADD', key('waiting', ''), now, seat)
    redis.call('HSET', key('rung'), seat, now)
  end
end
if #ids > 0 then
  redis.call('ZADD', key('leases'), unpack(leases))
  count('running', #ids)
  redis.call('RPUSH', record, unpack(ids))
  redis.call('PEXPIRE', record, lease_ms)
end
return tell({ out, last ~= lowest and last ~= nil and ARGV[9] ~= '1' and 1 or 0 })
