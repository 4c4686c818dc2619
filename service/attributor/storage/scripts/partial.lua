#!lua flags=allow-oom
-- Reads what a job has so far, or had when it failed or was cancelled, and notes that somebody watches it. One that
-- waits for the answer to another shows what that one has.
-- KEYS: 1 namespace
-- ARGV: 1 id
-- Returns: the messages of results and estimates; none if it has published nothing

local job = read(ARGV[1])
if job.state == 'queued' and job.follows then
  job = read(redis.call('GET', key('flight', job.content)))
end
if job.state == 'running' then
  redis.call('HSET', job.key, 'watched_ms', now_ms() + WATCHED_MS)
elseif job.state ~= 'failed' and job.state ~= 'cancelled' then
  return {}
end
return redis.call('HVALS', key('partial', job.id))
