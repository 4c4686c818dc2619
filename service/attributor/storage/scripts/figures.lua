-- Reads the service's numbers.
-- KEYS: 1 namespace
-- ARGV: lines
-- Returns: the counters and what processes have counted, each as names and numbers in turn; numbers of suspects, of jobs
--          in quarantine, of workers that beat recently; of the jobs in each line

local jobs = {}
for _, line in ipairs(ARGV) do
  local n = 0
  for _, tenant in ipairs(redis.call('ZRANGE', key('ring', line), 0, -1)) do
    n = n + redis.call('ZCARD', key('ready', line, tenant))
  end
  jobs[#jobs + 1] = n
end
return {
  redis.call('HGETALL', key('counters')),
  redis.call('HGETALL', key('metrics')),
  redis.call('ZCARD', key('suspects')),
  redis.call('ZCOUNT', key('quarantine'), string.format('%d', now_ms()), '+inf'),
  redis.call('ZCOUNT', key('workers'), string.format('%d', now_ms() - WORKER_ALIVE_MS), '+inf'),
  jobs,
}
