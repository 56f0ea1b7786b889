-- One worker's exchange with one counter: gives back, reports, takes a lease. The rule is written down, and
-- tested, in window.py, whose names these are: lease(counters, ask, now_ms).
-- KEYS: the sliding window, the calendar's counts (one hash tag, so one node of a cluster holds both).

local WINDOW_MS, QUANTUM_MS, DAY_MS, SHARE = 60030, 125, 86400000, 8
local LONG_USED, LONG_SHARE = 16, 64

local arg = {}
for i = 1, #ARGV do arg[i] = tonumber(ARGV[i]) end
local minute_limit, day_limit, month_limit = arg[1], arg[2], arg[3]
local need, extra, unit, lease_ms, waiting_ms = arg[4], arg[5], arg[6], arg[7], arg[8]
local known_day, known_day_used, known_month, known_month_used = arg[9], arg[10], arg[11], arg[12]
local long_extra, long_ms, n_returned = arg[13], arg[14], arg[15]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local has_minute = minute_limit >= 0
local has_calendar = day_limit >= 0 or month_limit >= 0

-- The sliding window: how many units end with which quantum, beside their sum, the first quantum that has
-- any, and when it was last looked at.
local used, first, window_is_new, fresh = 0, 0, false, 0
local now_q = math.floor(now / QUANTUM_MS)
if has_minute then
  local meta = redis.call('HMGET', KEYS[1], 'used', 'first', 'last')
  used, first = tonumber(meta[1] or 0), tonumber(meta[2] or 0)
  local last = tonumber(meta[3] or now)
  if not meta[3] then fresh, window_is_new = 1, true end
  local back = math.floor((last - now) / QUANTUM_MS)
  if back >= 8 then
    -- The clock was set back: what is counted keeps the time that it had left.
    local all, moved = redis.call('HGETALL', KEYS[1]), {}
    for i = 1, #all, 2 do
      local q = tonumber(all[i])
      if q then
        redis.call('HDEL', KEYS[1], all[i])
        moved[#moved + 1] = q - back
        moved[#moved + 1] = all[i + 1]
      end
    end
    if #moved > 0 then redis.call('HSET', KEYS[1], unpack(moved)) end
    first = first - back
  end
end

local function add_to_window(q, units)
  redis.call('HINCRBY', KEYS[1], q, units)
  used = used + units
  if first == 0 or q < first then first = q end
end

-- Drops what is over, and finds the first quantum that isn't.
local function expire()
  if used <= 0 then first = 0 end
  if first == 0 then return end
  if redis.call('HLEN', KEYS[1]) <= 67 or now_q - first > 500 then
    local all = redis.call('HGETALL', KEYS[1])
    first = 0
    for i = 1, #all, 2 do
      local q = tonumber(all[i])
      if q and q <= now_q then
        used = used - all[i + 1]
        redis.call('HDEL', KEYS[1], all[i])
      elseif q and (first == 0 or q < first) then
        first = q
      end
    end
    return
  end
  -- A well filled window: only neighbours are looked at.
  local q, last_q = first, now_q + 1000
  while used > 0 and q < last_q do
    local units = redis.call('HGET', KEYS[1], q)
    if units and q > now_q then break end
    if units then
      used = used - units
      redis.call('HDEL', KEYS[1], q)
    end
    q = q + 1
  end
  -- Past the last quantum there can be: the sum was not that of the counts, and must not stay so.
  if q >= last_q then used = 0 end
  first = used > 0 and q or 0
end

-- The month of a day (years × 12 + months from 0), which of its days it is, and how many it has: the civil
-- calendar in whole numbers, whose years begin in March.
local function month_of(day)
  local z = day + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)
  yoe = math.floor(yoe / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local year, month = yoe + era * 400, mp < 10 and mp + 3 or mp - 9
  if month <= 2 then year = year + 1 end
  local days = ({31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31})[month]
  if month == 2 and (year % 4 == 0 and year % 100 ~= 0 or year % 400 == 0) then days = 29 end
  return year * 12 + month - 1, doy - math.floor((153 * mp + 2) / 5) + 1, days
end

local day = math.floor(now / DAY_MS)
local month, day_of_month, days_of_month = month_of(day)
local day_left = (day + 1) * DAY_MS - now
local month_left = day_left + (days_of_month - day_of_month) * DAY_MS
local day_used, month_used, calendar_is_new, month_is_new = 0, 0, false, false
if has_calendar then
  local meta = redis.call('HMGET', KEYS[2], 'day', 'day_used', 'month', 'month_used')
  if not meta[1] then
    fresh, calendar_is_new, month_is_new = 1, true, true
  else
    -- A clock that was set back over midnight stays in the later day: counting it anew would forget it.
    if tonumber(meta[1]) >= day then day, day_used = tonumber(meta[1]), tonumber(meta[2]) end
    if tonumber(meta[3]) >= month then
      month, month_used = tonumber(meta[3]), tonumber(meta[4])
    else
      month_is_new = true
    end
  end
  if known_day == day and known_day_used > day_used then day_used = known_day_used end
  if known_month == month and known_month_used > month_used then month_used = known_month_used end
end

local at = 16
for _ = 1, n_returned do
  local end_q, its_day, its_month, units = arg[at], arg[at + 1], arg[at + 2], arg[at + 3]
  at = at + 4
  if has_minute and end_q > 0 then
    local there = tonumber(redis.call('HGET', KEYS[1], end_q) or 0)
    local back = math.min(there, units)
    used = used - back
    if back > 0 and back == there then
      redis.call('HDEL', KEYS[1], end_q)
    elseif back > 0 then
      redis.call('HINCRBY', KEYS[1], end_q, -back)
    end
  end
  if its_day == day then day_used = math.max(0, day_used - units) end
  if its_month == month then month_used = math.max(0, month_used - units) end
end
while at < #arg do
  local spent, units = now - arg[at], arg[at + 1]
  at = at + 2
  local end_q = math.ceil((spent + WINDOW_MS) / QUANTUM_MS)
  if has_minute and end_q > now_q then add_to_window(end_q, units) end
  local its_day = math.floor(spent / DAY_MS)
  if its_day == day then day_used = day_used + units end
  if month_of(its_day) == month then month_used = month_used + units end
end
if has_minute then expire() end

-- Pairs of each limit that there is and what is used of it.
local pairs_of = {}
if has_minute then pairs_of[#pairs_of + 1] = {minute_limit, used} end
if day_limit >= 0 then pairs_of[#pairs_of + 1] = {day_limit, day_used} end
if month_limit >= 0 then pairs_of[#pairs_of + 1] = {month_limit, month_used} end

local free = math.huge
for _, each in ipairs(pairs_of) do free = math.min(free, each[1] - each[2]) end
free = math.max(0, free)
local granted = math.min(need, free)
if granted < need then granted = granted - granted % unit end
local more = math.min(extra, math.floor((free - granted) / SHARE))
more = more - more % unit
if more <= 0 then lease_ms = waiting_ms end
local long = long_extra
for _, each in ipairs(pairs_of) do long = math.min(long, math.floor(each[1] / LONG_SHARE)) end
long = long - long % unit
for _, each in ipairs(pairs_of) do
  if (each[2] + granted + long) * LONG_USED > each[1] then long = 0 end
end
if long > 0 then more, lease_ms = long, long_ms end
granted = granted + more
if has_calendar then lease_ms = math.min(lease_ms, day_left) end

local end_q = 0
if granted > 0 then
  if has_minute then
    end_q = math.ceil((now + lease_ms + WINDOW_MS) / QUANTUM_MS)
    add_to_window(end_q, granted)
  end
  day_used = day_used + granted
  month_used = month_used + granted
end

if has_minute and (used > 0 or not window_is_new) then
  redis.call('HSET', KEYS[1], 'used', used, 'first', first, 'last', now)
  -- Not by this lease alone: a longer one that was granted before must not be forgotten before its end.
  redis.call('PEXPIRE', KEYS[1], WINDOW_MS + math.max(lease_ms, long_ms) + 2000)
end
if has_calendar and not (calendar_is_new and month_used == 0 and day_used == 0) then
  redis.call('HSET', KEYS[2], 'day', day, 'day_used', day_used, 'month', month, 'month_used', month_used)
  if month_is_new then redis.call('PEXPIREAT', KEYS[2], now + month_left + DAY_MS) end
end
local next_ms = WINDOW_MS
if first > 0 then next_ms = first * QUANTUM_MS - now end
return {granted, lease_ms, end_q, day, month, used, day_used, month_used, next_ms, day_left, month_left, fresh}
