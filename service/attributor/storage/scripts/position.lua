-- Estimates how many jobs will be claimed before a queued one, among the engine's jobs or among comparators', as it is:
-- exactly where it has the only tenant, else as if all jobs of its line cost the same.
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
if job.suspect then
  return redis.call('ZRANK', key('suspects'), job.id)
end

local line = job.priority
local prefix, own = string.match(line, '^%D*'), priority_of(line)
local ahead, in_line = 0, 0
for _, priority in ipairs(PRIORITIES) do
  if priority <= own then
    for _, tenant in ipairs(redis.call('ZRANGE', key('ring', prefix .. priority), 0, -1)) do
      local n = redis.call('ZCARD', key('ready', prefix .. priority, tenant))
      if priority < own then
        ahead = ahead + n
      else
        in_line = in_line + n
      end
    end
  end
end
local before = redis.call('ZCOUNT', key('ready', line, job.tenant), '-inf', '(' .. job.seq)
local mean = math.max(1, tonumber(redis.call('HGET', key('counters'), 'cost:' .. line) or 0) / math.max(1, in_line))
-- The virtual time at which it will begin; others that begin before are ahead.
local begins = tonumber(redis.call('ZSCORE', key('ring', line), job.tenant)) + before * mean / tonumber(job.weight or 1)
local others = redis.call('ZRANGEBYSCORE', key('ring', line), '-inf', exactly(begins), 'WITHSCORES')
for i = 1, #others, 2 do
  local tenant = others[i]
  if tenant ~= job.tenant then
    local ready = key('ready', line, tenant)
    local first = redis.call('ZRANGE', ready, 0, 0)[1]
    local weight = tonumber(first and redis.call('HGET', key('job', first), 'weight') or 1)
    local more = math.ceil((begins - tonumber(others[i + 1])) * weight / mean)
    if more == 0 and tenant < job.tenant then
      more = 1 -- as the ring has those that stand at the same place
    end
    ahead = ahead + math.min(redis.call('ZCARD', ready), more)
  end
end
return ahead + before
