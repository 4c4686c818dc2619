#!lua flags=allow-oom
-- Stores a piece of what is too large for one command. The whole goes by itself unless its job ends with it in time.
-- KEYS: 1 namespace
-- ARGV: 1 name of the whole, 2 number of the piece, 3 bytes, 4 lifetime in ms

redis.call('HSET', key('pieces', ARGV[1]), ARGV[2], ARGV[3])
redis.call('PEXPIRE', key('pieces', ARGV[1]), ARGV[4])
