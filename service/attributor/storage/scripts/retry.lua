-- Queues a job that is in quarantine again: it is computed alone once more.
-- KEYS: 1 namespace
-- ARGV: 1 id
-- Returns: 1 queued, 0 there is no such job in quarantine

local job = read(ARGV[1])
if not job.tenant or redis.call('ZREM', key('quarantine'), ARGV[1]) == 0 then
  return 0
end
redis.call('HDEL', job.key, 'failure', 'finished_ms', 'expires_ms', 'quarantined', 'deadline_ms', 'content')
redis.call('PERSIST', job.key)
redis.call('PERSIST', job.payload_at and key('pieces', job.id) or key('payload', job.id))
redis.call('ZREM', key('expiring'), job.tenant .. ':' .. job.id)
job.deadline_ms = false
queue_again(job, job.attempts)
return tell(1)
