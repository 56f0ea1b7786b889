-- One worker's sign of life. Answers what tells this Redis' memory from another's, how many workers there are,
-- which of them this one is, Redis' time, and how long those who were without Redis still go on so.
-- KEYS: the registry. ARGV: the worker, a new epoch if there is none, after how long a silent one is gone, how
-- long this one asks that all go on so.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSETNX', KEYS[1], 'epoch', ARGV[2])
redis.call('HSET', KEYS[1], ARGV[1], now)
local resume, wait = tonumber(redis.call('HGET', KEYS[1], 'resume') or 0), tonumber(ARGV[4])
if wait > 0 and now + wait > resume then
  resume = now + wait
  redis.call('HSET', KEYS[1], 'resume', resume)
end
local all, epoch, workers = redis.call('HGETALL', KEYS[1]), '', {}
for i = 1, #all, 2 do
  if all[i] == 'epoch' then
    epoch = all[i + 1]
  elseif all[i] == 'resume' then
    -- No worker.
  elseif math.abs(now - all[i + 1]) > tonumber(ARGV[3]) then
    redis.call('HDEL', KEYS[1], all[i])
  else
    workers[#workers + 1] = all[i]
  end
end
table.sort(workers)
local rank = 0
for i = 1, #workers do
  if workers[i] == ARGV[1] then rank = i - 1 end
end
return {epoch, #workers, rank, now, math.max(0, resume - now)}
