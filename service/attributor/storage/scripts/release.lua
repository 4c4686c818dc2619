#!lua flags=allow-oom
-- Gives running jobs back before their worker leaves: queued again before all later jobs, and not charged with an
-- attempt, for nothing went wrong. A cancelled one ends as cancelled.
-- KEYS: 1 namespace
-- ARGV: id, token of each job
-- Returns: how many were given back; one whose lease was lost is not

local given = 0
for i = 1, #ARGV, 2 do
  local job = read(ARGV[i])
  if job.token == ARGV[i + 1] and job.state == 'running' then
    take_from_worker(job)
    if job.cancel then
      settle(job, 'cancelled', nil, 'attempts', job.attempts - 1)
    else
      queue_again(job, job.attempts - 1)
    end
    given = given + 1
  end
end
return tell(given)
