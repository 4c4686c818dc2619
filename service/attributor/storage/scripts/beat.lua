-- Renews leases and writes progress, all of a worker's jobs in one call.
-- KEYS: 1 namespace
-- ARGV: 1 lease in ms, then per job: id, token, evaluations, completeness_error, inputs_done
--       (three times '' where there is no progress; completeness_error '' while it is unknown)
-- Returns: the ids to stop: cancelled, or the lease was lost

local until_ms = now_ms() + tonumber(ARGV[1])
local stop = {}
for i = 2, #ARGV, 5 do
  local id = ARGV[i]
  local job = key('job', id)
  local v = redis.call('HMGET', job, 'token', 'state', 'cancel', 'evaluations', 'completeness_error', 'inputs_done')
  if v[1] ~= ARGV[i + 1] or v[2] ~= 'running' or v[3] then
    -- A cancelled job's lease is not renewed: should its worker not let go, reap ends the job.
    stop[#stop + 1] = id
  else
    redis.call('ZADD', key('leases'), 'XX', until_ms, id)
    local evaluations, err, inputs_done = ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
    if evaluations ~= '' and (v[4] ~= evaluations or v[5] ~= err or v[6] ~= inputs_done) then
      redis.call('HSET', job, 'evaluations', evaluations, 'completeness_error', err, 'inputs_done', inputs_done)
      changed(id, 'running')
    end
  end
end
return stop
