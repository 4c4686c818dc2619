-- Says that a worker waits for jobs: it is woken at once if there are any. Of several that wait keenly, the one that has
-- waited least is woken first, so that a little work is done by one worker, together, and in warm caches; those that do
-- not, which are at work, follow, longest first.
-- KEYS: 1 namespace
-- ARGV: 1 under which name it waits, 2 '1' if it waits keenly, 3 '1' if it waits for comparators' jobs as well, 4 '1' if it
--       holds no job

redis.call('HDEL', key('rung'), ARGV[1])
local prefixes = ARGV[3] == '1' and { '', COMPARISON_LINE } or { '' }
for _, prefix in ipairs(prefixes) do
  if not is_empty(prefix) then
    return wake(ARGV[1])
  end
end
if redis.call('EXISTS', key('suspects')) == 1 then
  local by = redis.call('GET', key('vacating'))
  if ARGV[4] == '1' or not by or by == ARGV[1] then
    return wake(ARGV[1])
  end
end
local gone_ms = now_ms() - WAITING_MS
for _, prefix in ipairs(prefixes) do
  redis.call('ZREMRANGEBYSCORE', key('waiting', prefix), -gone_ms, gone_ms) -- who died
  redis.call('ZADD', key('waiting', prefix), ARGV[2] == '1' and now_ms() or -now_ms(), ARGV[1])
end
