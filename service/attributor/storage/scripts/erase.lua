#!lua flags=allow-oom
-- Deletes all that is kept of a finished job, also the answer kept for who asks the same. Open streams learn of it by
-- an event.
-- KEYS: 1 namespace
-- ARGV: 1 id, 2 tenant
-- Returns: where its large result lay, or '' if it had none; 0: the tenant has no such job or it is not finished

local job = read(ARGV[1])
if job.tenant ~= ARGV[2] or not job.expires_ms then
  return 0
end
local place = redis.call('HGET', job.key, 'result_at')
if job.payload_at then
  redis.call('UNLINK', key('pieces', job.id))
end
redis.call('DEL', job.key, key('payload', job.id), key('result', job.id), key('partial', job.id))
redis.call('ZREM', key('index', job.tenant), job.id)
redis.call('ZREM', key('expiring'), job.tenant .. ':' .. job.id)
redis.call('ZREM', key('quarantine'), job.id)
if job.content then
  forget_answer(job.content)
end
if job.idem then
  local idem = key('idem', job.tenant, job.idem)
  if redis.call('HGET', idem, 'id') == job.id then
    redis.call('DEL', idem)
  end
end
announce(job.id, 'erased')
return tell(place or '')
