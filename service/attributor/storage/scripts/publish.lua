-- Adds what a running job has so far, if the token still holds.
-- KEYS: 1 namespace
-- ARGV: 1 id, 2 token, 3 number of the first input among the results or '', 4 results in a message or '', 5 estimates of
--       the other inputs in a message or ''; they replace the earlier ones
-- Returns: 1 added, 0 the lease was lost

local job = read(ARGV[1])
if job.token ~= ARGV[2] or job.state ~= 'running' then
  return 0
end
local partial = key('partial', job.id)
if ARGV[3] ~= '' then
  redis.call('HSET', partial, ARGV[3], ARGV[4])
end
if ARGV[5] ~= '' then
  redis.call('HSET', partial, 'estimates', ARGV[5])
else
  redis.call('HDEL', partial, 'estimates')
end
if not job.published then
  redis.call('HSET', job.key, 'published', 1)
end
redis.call('PEXPIRE', partial, job.ttl_ms)
return 1
