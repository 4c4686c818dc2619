-- Records the end of a running job, if the token still holds. A cancelled job's result is dropped.
-- KEYS: 1 namespace
-- ARGV: 1 id, 2 token, 3 state, 4 result bytes or '', 5 failure bytes or ''
-- Returns: 1 recorded (also when this token had recorded it before), 0 the lease was lost

local id = ARGV[1]
local job = key('job', id)
local v = redis.call('HMGET', job, 'token', 'state', 'cancel')
if v[1] ~= ARGV[2] then
  return 0
end
if v[2] ~= 'running' then
  return 1
end

local state = v[3] and 'cancelled' or ARGV[3]
if state == 'succeeded' then
  redis.call('SET', key('result', id), ARGV[4])
elseif state == 'failed' then
  redis.call('HSET', job, 'failure', ARGV[5])
end
redis.call('ZREM', key('leases'), id)
count('running', -1)
settle(id, state)
return 1
