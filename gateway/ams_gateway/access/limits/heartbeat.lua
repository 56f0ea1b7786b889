-- One worker's sign of life. Answers what tells this Redis' memory from another's, how many workers there are,
-- which of them this one is, and Redis' time.
-- KEYS: the registry. ARGV: the worker, a new epoch if there is none, after how long a silent one is gone.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSETNX', KEYS[1], 'epoch', ARGV[2])
redis.call('HSET', KEYS[1], ARGV[1], now)
local all, epoch, workers = redis.call('HGETALL', KEYS[1]), '', {}
for i = 1, #all, 2 do
  if all[i] == 'epoch' then
    epoch = all[i + 1]
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
return {epoch, #workers, rank, now}
