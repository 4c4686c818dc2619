-- Takes queued jobs under fresh leases: by priority, then in the order they came; the engine's first, then comparators'.
-- KEYS: 1 namespace
-- ARGV: 1 most jobs of the engine to take, 2 most of comparators, 3 lease in ms, 4 nonce of this claim (the same when
--       it is sent again)
-- Returns: a list of {id, token, spec bytes, created_ms, started_ms}

local lease_ms, nonce = tonumber(ARGV[3]), ARGV[4]
local taken = key('claim', nonce)
local now = now_ms()

local function take(id, tenant, line)
  local job = key('job', id)
  local attempt = redis.call('HINCRBY', job, 'attempts', 1)
  redis.call('HSET', job, 'state', 'running', 'token', nonce .. ':' .. attempt, 'started_ms', now)
  redis.call('ZADD', key('leases'), now + lease_ms, id)
  redis.call('RPUSH', taken, id)
  restamp(line, tenant)
  count('queued', -1)
  count('running', 1)
  changed(id, 'running')
end

local function take_from_lines(prefix, limit)
  local n = 0
  for _, priority in ipairs(PRIORITIES) do
    local line = prefix .. priority
    while n < limit do
      local tenant = redis.call('ZRANGE', key('ring', line), 0, 0)[1]
      if not tenant then
        break
      end
      take(redis.call('ZPOPMIN', key('ready', line, tenant))[1], tenant, line)
      n = n + 1
    end
  end
end

-- A repetition finds what the first call took; without that, a lost reply would cost each job an attempt.
if redis.call('EXISTS', taken) == 0 then
  take_from_lines('', tonumber(ARGV[1]))
  take_from_lines(COMPARISON_LINE, tonumber(ARGV[2]))
  redis.call('PEXPIRE', taken, lease_ms)
end

local out = {}
for _, id in ipairs(redis.call('LRANGE', taken, 0, -1)) do
  local v = redis.call('HMGET', key('job', id), 'token', 'state', 'created_ms', 'started_ms')
  if v[2] == 'running' and string.sub(v[1], 1, #nonce + 1) == nonce .. ':' then
    out[#out + 1] = { id, v[1], redis.call('GET', key('payload', id)), v[3], v[4] }
  end
end
return out
