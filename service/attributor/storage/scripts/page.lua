-- Reads a stretch of a tenant's index, newest first, and prunes what expired.
-- KEYS: 1 namespace
-- ARGV: 1 tenant, 2 upper end of seq ('+inf' or '(' and a seq), 3 most entries to read
-- Returns: a list of {seq, id, the record's fields and values in turn}; no fields where the job has expired

local index = key('index', ARGV[1])
local entries = redis.call('ZREVRANGEBYSCORE', index, ARGV[2], '-inf', 'WITHSCORES', 'LIMIT', 0, ARGV[3])
local out = {}
for i = 1, #entries, 2 do
  local id = entries[i]
  local fields = redis.call('HGETALL', key('job', id))
  if #fields == 0 then
    redis.call('ZREM', index, id)
  end
  out[#out + 1] = { entries[i + 1], id, fields }
end
return out
