#!lua flags=allow-oom
-- Cancels a queued job at once; tells a running one to stop. Others who wait for its answer no longer do.
-- KEYS: 1 namespace
-- ARGV: 1 id, 2 tenant
-- Returns: 'cancelled', 'running', or the terminal state it already had; nil if the tenant has no such job

local job = read(ARGV[1])
if job.tenant ~= ARGV[2] then
  return false
end
if job.state == 'queued' then
  take_from_queue(job)
  settle(job, 'cancelled')
  leave_flight(job)
elseif job.state == 'running' and not job.cancel then
  change(job, 'running', 'cancel', 1)
  leave_flight(job)
end
return tell(job.state)
