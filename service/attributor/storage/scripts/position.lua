-- Counts the jobs that will be claimed before a queued one, among the engine's jobs or among comparators', as it is.
-- KEYS: 1 namespace
-- ARGV: 1 id
-- Returns: the number, or nil if the job is not queued

local v = redis.call('HMGET', key('job', ARGV[1]), 'state', 'priority', 'seq')
if v[1] ~= 'queued' then
  return false
end
local ahead = 0
local prefix, number = string.match(v[2], '^(%D*)(%d+)$')
local own = tonumber(number)
for _, priority in ipairs(PRIORITIES) do
  if priority <= own then
    local line = prefix .. priority
    local before = priority == own and '(' .. v[3] or '+inf'
    for _, tenant in ipairs(redis.call('ZRANGE', key('ring', line), 0, -1)) do
      ahead = ahead + redis.call('ZCOUNT', key('ready', line, tenant), '-inf', before)
    end
  end
end
return ahead
