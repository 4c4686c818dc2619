#!lua flags=allow-oom
-- Says that a worker is alive.
-- KEYS: 1 namespace
-- ARGV: 1 worker id

redis.call('ZADD', key('workers'), now_ms(), ARGV[1])
