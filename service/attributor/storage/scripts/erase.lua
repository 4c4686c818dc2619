-- Deletes all that is kept of a finished job. Open streams learn of it by an event.
-- KEYS: 1 namespace
-- ARGV: 1 id, 2 tenant
-- Returns: 1 erased, 0 the tenant has no such job or it is not finished

local id, tenant = ARGV[1], ARGV[2]
local v = redis.call('HMGET', key('job', id), 'tenant', 'expires_ms', 'idem')
if v[1] ~= tenant or not v[2] then
  return 0
end
redis.call('DEL', key('job', id), key('payload', id), key('result', id))
redis.call('ZREM', key('index', tenant), id)
redis.call('ZREM', key('expiring'), tenant .. ':' .. id)
local idem = key('idem', tenant, v[3])
if redis.call('HGET', idem, 'id') == id then
  redis.call('DEL', idem)
end
announce(id, 'erased')
return 1
