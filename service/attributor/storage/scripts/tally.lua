-- Adds what a process has counted, once.
-- KEYS: 1 namespace
-- ARGV: 1 nonce, 2 for how long it is remembered in ms, then name and number in turn

if redis.call('SET', key('tallied', ARGV[1]), '', 'NX', 'PX', ARGV[2]) then
  for i = 3, #ARGV, 2 do
    redis.call('HINCRBYFLOAT', key('metrics'), ARGV[i], ARGV[i + 1])
  end
end
