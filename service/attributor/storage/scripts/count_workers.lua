-- Counts the workers that beat recently and forgets the others.
-- KEYS: 1 namespace
-- ARGV: none
-- Returns: the number

local workers = key('workers')
redis.call('ZREMRANGEBYSCORE', workers, '-inf', '(' .. string.format('%d', now_ms() - WORKER_ALIVE_MS))
return redis.call('ZCARD', workers)
