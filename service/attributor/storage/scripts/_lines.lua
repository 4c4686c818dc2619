-- Where jobs wait for a worker, in what order they are served, and who is woken for them.

-- Tenants share a line by start-time fair queueing (Goyal, Vin and Cheng 1996): a tenant stands in the ring of its line by
-- the virtual time at which its next job begins, and each job that it gets moves it on by cost / weight. The line's own
-- time is where the tenant stood that was served last; who comes anew begins there, or where it had got to itself, if
-- that is later (`paid`). So neither does anyone save up, nor gain by leaving and coming back.

-- Seventeen digits: a number that Lua writes by itself has fourteen, and virtual time would stand still beyond them.
local function exactly(number)
  return string.format('%.17g', number)
end

local function ring_time(line)
  return tonumber(redis.call('HGET', key('virtual'), line) or 0)
end

-- What taking a job moves its tenant on by.
local function charge_of(job)
  return tonumber(job.cost or 1) / tonumber(job.weight or 1)
end

-- Rings and tenants that this script has found there.
local in_ring = {}

-- Puts a tenant into the ring of a line.
local function join_ring(line, tenant)
  local ring = key('ring', line)
  if in_ring[ring .. tenant] then
    return
  end
  in_ring[ring .. tenant] = true
  if not redis.call('ZSCORE', ring, tenant) then
    local paid = tonumber(redis.call('ZSCORE', key('paid', line), tenant) or 0)
    redis.call('ZADD', ring, exactly(math.max(ring_time(line), paid)), tenant)
  end
end

-- Takes a tenant without waiting jobs out of the ring; what it has got is not forgotten before others have got as much.
local function leave_ring(line, tenant, stood)
  local ring = key('ring', line)
  in_ring[ring .. tenant] = nil
  redis.call('ZREM', ring, tenant)
  redis.call('ZADD', key('paid', line), exactly(stood), tenant)
  redis.call('ZREMRANGEBYSCORE', key('paid', line), '-inf', '(' .. exactly(ring_time(line)))
end

local function leave_ring_if_idle(line, tenant)
  if redis.call('EXISTS', key('ready', line, tenant)) == 0 then
    local stood = redis.call('ZSCORE', key('ring', line), tenant)
    if stood then
      leave_ring(line, tenant, tonumber(stood))
    end
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

-- The priority of a line, as a number.
local function priority_of(line)
  return tonumber(string.match(line, '%d+$'))
end

local function rank(line, seq)
  return priority_of(line) * 2 ^ 48 + seq
end

-- Puts a job where it waits for a worker. Its seq never changes, so one that is queued again stands before all later ones
-- of its tenant. One that may be what killed workers waits apart, for one that holds nothing else.
local function make_ready(job)
  local prefix = string.match(job.priority, '^%D*')
  count_cost(job, 1)
  if job.suspect then
    redis.call('ZADD', key('suspects'), rank(job.priority, job.seq), job.id)
    prefix = ''
  else
    redis.call('ZADD', key('ready', job.priority, job.tenant), job.seq, job.id)
    join_ring(job.priority, job.tenant)
  end
  rings[prefix] = (rings[prefix] or 0) + 1
end

-- Takes a job from where it waits for a worker.
local function unready(job)
  count_cost(job, -1)
  if job.suspect then
    redis.call('ZREM', key('suspects'), job.id)
  else
    redis.call('ZREM', key('ready', job.priority, job.tenant), job.id)
    leave_ring_if_idle(job.priority, job.tenant)
  end
end
