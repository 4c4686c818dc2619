-- Counts the jobs that will be claimed before a queued one, among the engine's jobs or among comparators', as it is.
-- KEYS: 1 namespace
-- ARGV: 1 id
-- Returns: the number, or nil if the job is not queued

local job = read(ARGV[1])
if job.state ~= 'queued' then
  return false
end
if job.follows then
  job = read(redis.call('GET', key('flight', job.content)))
  if job.state ~= 'queued' then
    return 0 -- what it waits for is being computed
  end
end
local ahead = 0
local prefix, number = string.match(job.priority, '^(%D*)(%d+)$')
local own = tonumber(number)
for _, priority in ipairs(PRIORITIES) do
  if priority <= own then
    local line = prefix .. priority
    local before = priority == own and '(' .. job.seq or '+inf'
    for _, tenant in ipairs(redis.call('ZRANGE', key('ring', line), 0, -1)) do
      ahead = ahead + redis.call('ZCOUNT', key('ready', line, tenant), '-inf', before)
    end
  end
end
return ahead
