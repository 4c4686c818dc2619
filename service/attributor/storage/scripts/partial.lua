-- Reads what a running job has so far, and notes that somebody watches it.
-- KEYS: 1 namespace
-- ARGV: 1 id
-- Returns: the messages of results and estimates; none if it does not run or has published nothing

local job = key('job', ARGV[1])
if redis.call('HGET', job, 'state') ~= 'running' then
  return {}
end
redis.call('HSET', job, 'watched_ms', now_ms() + WATCHED_MS)
return redis.call('HVALS', key('partial', ARGV[1]))
