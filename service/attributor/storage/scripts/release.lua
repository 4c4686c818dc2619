-- Gives running jobs back before their worker leaves: queued again before all later jobs, and not charged with an
-- attempt, for nothing went wrong. A cancelled one ends as cancelled.
-- KEYS: 1 namespace
-- ARGV: id, token of each job
-- Returns: how many were given back; one whose lease was lost is not

local given = 0
for i = 1, #ARGV, 2 do
  local id = ARGV[i]
  local job = key('job', id)
  local v = redis.call('HMGET', job, 'token', 'state', 'cancel', 'tenant', 'priority', 'seq')
  if v[1] == ARGV[i + 1] and v[2] == 'running' then
    redis.call('HINCRBY', job, 'attempts', -1)
    take_from_worker(id)
    if v[3] then
      settle(id, 'cancelled')
    else
      queue_again(id, v[5], v[4], v[6])
    end
    given = given + 1
  end
end
return given
