-- Counts the jobs that will be claimed before a queued one.
-- KEYS: 1 namespace
-- ARGV: 1 id
-- Returns: the number, or nil if the job is not queued

local v = redis.call('HMGET', key('job', ARGV[1]), 'state', 'priority', 'seq')
if v[1] ~= 'queued' then
  return false
end
local ahead = 0
for _, priority in ipairs(PRIORITIES) do
  local own = tonumber(v[2])
  if priority <= own then
    local before = priority == own and '(' .. v[3] or '+inf'
    for _, tenant in ipairs(redis.call('ZRANGE', key('ring', priority), 0, -1)) do
      ahead = ahead + redis.call('ZCOUNT', key('ready', priority, tenant), '-inf', before)
    end
  end
end
return ahead
