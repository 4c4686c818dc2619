-- Takes queued jobs under fresh leases: by priority, then in the order they came.
-- KEYS: 1 namespace
-- ARGV: 1 most jobs to take, 2 lease in ms, 3 nonce of this claim (the same when it is sent again)
-- Returns: a list of {id, token, spec bytes, created_ms, started_ms}

local limit, lease_ms, nonce = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local taken = key('claim', nonce)
local now = now_ms()

local function take(id, tenant, priority)
  local job = key('job', id)
  local attempt = redis.call('HINCRBY', job, 'attempts', 1)
  redis.call('HSET', job, 'state', 'running', 'token', nonce .. ':' .. attempt, 'started_ms', now)
  redis.call('ZADD', key('leases'), now + lease_ms, id)
  redis.call('RPUSH', taken, id)
  restamp(priority, tenant)
  count('queued', -1)
  count('running', 1)
  changed(id, 'running')
end

local function take_all()
  local n = 0
  for _, priority in ipairs(PRIORITIES) do
    while n < limit do
      local tenant = redis.call('ZRANGE', key('ring', priority), 0, 0)[1]
      if not tenant then
        break
      end
      take(redis.call('ZPOPMIN', key('ready', priority, tenant))[1], tenant, priority)
      n = n + 1
    end
  end
  redis.call('PEXPIRE', taken, lease_ms)
end

-- A repetition finds what the first call took; without that, a lost reply would cost each job an attempt.
if redis.call('EXISTS', taken) == 0 then
  take_all()
end

local out = {}
for _, id in ipairs(redis.call('LRANGE', taken, 0, -1)) do
  local v = redis.call('HMGET', key('job', id), 'token', 'state', 'created_ms', 'started_ms')
  if v[2] == 'running' and string.sub(v[1], 1, #nonce + 1) == nonce .. ':' then
    out[#out + 1] = { id, v[1], redis.call('GET', key('payload', id)), v[3], v[4] }
  end
end
return out
