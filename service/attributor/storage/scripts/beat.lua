#!lua flags=allow-oom
-- Renews leases and writes progress, all of a worker's jobs in one call.
-- KEYS: 1 namespace
-- ARGV: 1 lease in ms, then per job: id, token, evaluations, completeness_error, inputs_done
--       (three times '' where there is no progress; completeness_error '' while it is unknown)
-- Returns: the ids to stop (cancelled, or the lease was lost), and the ids whose partial results somebody watches

local now = now_ms()
local until_ms = now + tonumber(ARGV[1])
local stop, watched = {}, {}
for i = 2, #ARGV, 5 do
  local job = read(ARGV[i])
  if job.token ~= ARGV[i + 1] or job.state ~= 'running' or job.cancel then
    -- A cancelled job's lease is not renewed: should its worker not let go, reap ends the job.
    stop[#stop + 1] = job.id
  else
    redis.call('ZADD', key('leases'), 'XX', until_ms, job.id)
    local evaluations, err, inputs_done = ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
    local v = redis.call('HMGET', job.key, 'evaluations', 'completeness_error', 'inputs_done', 'watched_ms')
    if evaluations ~= '' and (v[1] ~= evaluations or v[2] ~= err or v[3] ~= inputs_done) then
      change(job, 'running', 'evaluations', evaluations, 'completeness_error', err, 'inputs_done', inputs_done)
    end
    if v[4] and tonumber(v[4]) > now then
      watched[#watched + 1] = job.id
    end
  end
end
return tell({ stop, watched })
