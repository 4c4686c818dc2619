-- Stands before every script, after the constants written by keys.py, and before the other parts that scripts share: key
-- names, the clock, reading and writing a job. Calls of the server are what a script costs, so a job is read by one and written by one.
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
local of_tenants = { costs = {}, queued_of = {} } -- cost and number of each tenant's jobs that wait
local ring_bell

local function count(name, by)
  counted[name] = (counted[name] or 0) + by
end

local function count_of_tenant(what, tenant, by)
  local counts = of_tenants[what]
  counts[tenant] = (counts[tenant] or 0) + by
end

-- Counts a job that begins to be queued (by 1), or ends to be (-1).
local function count_queued(job, by)
  count('queued', by)
  count_of_tenant('queued_of', job.tenant, by)
end

-- Counts the cost of a job that begins to wait for a worker (sign 1), or does so no more (-1).
local function count_cost(job, sign)
  local cost = sign * tonumber(job.cost or 0) -- a job of an earlier release has none, and was not counted
  count('cost', cost)
  count('cost:' .. job.priority, cost)
  count_of_tenant('costs', job.tenant, cost)
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
    if by ~= 0 then
      redis.call('HINCRBY', key('counters'), name, by)
    end
  end
  for what, counts in pairs(of_tenants) do
    for tenant, by in pairs(counts) do
      if by ~= 0 and redis.call('HINCRBY', key(what), tenant, by) <= 0 then
        redis.call('HDEL', key(what), tenant)
      end
    end
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
  'created_ms', 'deadline_ms', 'content', 'follows', 'published', 'expires_ms', 'idem', 'started_ms', 'answer_to', 'cost',
  'weight', 'suspect', 'alone', 'payload_at' }

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
