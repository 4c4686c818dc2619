-- Counts the jobs in some lines.
-- KEYS: 1 namespace
-- ARGV: lines
-- Returns: the number

local n = 0
for _, line in ipairs(ARGV) do
  for _, tenant in ipairs(redis.call('ZRANGE', key('ring', line), 0, -1)) do
    n = n + redis.call('ZCARD', key('ready', line, tenant))
  end
end
return n
