-- Hints for a worker, the highest priority first; of one priority the queue first that was served longest ago.
-- ARGV: worker; the most hints; 1 for the lowest priority first; 1 for every queue; 1 to pass by what was given back;
-- the most of a lane; its entry in "waiting" until now, or ""; the one to make when there is nothing, or "";
-- how many bounds; the bounds: queue, the most of it; then fours to settle.
-- Answers quadruples: lane, 1 when these were given back once already, entries, job ids.
local worker, left = ARGV[1], tonumber(ARGV[2])
local lowest, every, fresh = ARGV[3] == '1', ARGV[4] == '1', ARGV[5] == '1'
local was_waiting, to_wait = ARGV[7], ARGV[8]
local bounds, named = {}, {}
local last = 9 + 2 * tonumber(ARGV[9])
for at = 10, last, 2 do
  bounds[ARGV[at]] = tonumber(ARGV[at + 1])
  named[#named + 1] = ARGV[at]
end
if was_waiting ~= '' then
  redis.call('ZREM', prefix .. 'waiting', was_waiting)
end
settle(last + 1, tonumber(ARGV[6]))

local answer = {}
local any_back = not fresh and redis.call('EXISTS', prefix .. 'back') == 1

local function deliver(lane, again, found)
  local entries, ids = {}, {}
  for at, entry in ipairs(found) do
    entries[at] = entry[1]
    -- An entry that was deleted while somebody held it has no fields.
    ids[at] = entry[2] and entry[2][2] or '-'
  end
  answer[#answer + 1] = lane
  answer[#answer + 1] = again
  answer[#answer + 1] = table.concat(entries, ' ')
  answer[#answer + 1] = table.concat(ids, ' ')
  return entries
end

local function read(stream, consumer, count, from)
  local found = redis.pcall('XREADGROUP', 'GROUP', GROUP, consumer, 'COUNT', count, 'STREAMS', stream, from)
  if found and found.err then
    if redis.call('EXISTS', stream) == 0 then
      return {}
    end
    make_group(stream)
    found = redis.call('XREADGROUP', 'GROUP', GROUP, consumer, 'COUNT', count, 'STREAMS', stream, from)
  end
  return found and found[1] and found[1][2] or {}
end

-- Up to count hints of a lane; whether there are none left.
local function take(lane, count)
  local stream = stream_of(lane)
  local taken = 0
  if any_back and redis.call('SISMEMBER', prefix .. 'back', lane) == 1 then
    local found = read(stream, BACK, count, '0')
    if #found > 0 then
      local entries = deliver(lane, 1, found)
      taken = #entries
      with_all(entries, function(...)
        local arguments = { ... }
        arguments[#arguments + 1] = 'JUSTID'
        redis.call('XCLAIM', stream, GROUP, worker, 0, unpack(arguments))
      end)
    end
    if #found < count then
      redis.call('SREM', prefix .. 'back', lane)
    end
  end
  if taken < count then
    local found = read(stream, worker, count - taken, '>')
    if #found > 0 then
      deliver(lane, 0, found)
      taken = taken + #found
    end
  end
  return taken
end

local function queues_of(ready)
  if every then
    return redis.call('ZRANGE', ready, 0, -1)
  end
  if #named == 0 then
    return {}
  end
  local scores = redis.call('ZMSCORE', ready, unpack(named))
  local found, score_of = {}, {}
  for at, queue in ipairs(named) do
    if scores[at] then
      found[#found + 1] = queue
      score_of[queue] = tonumber(scores[at])
    end
  end
  table.sort(found, function(a, b) return score_of[a] < score_of[b] end)
  return found
end

local total = 0
for step = 1, 10 do
  local priority = lowest and step or 11 - step
  local ready = prefix .. 'ready:' .. priority
  for _, queue in ipairs(queues_of(ready)) do
    local count = math.min(left, bounds[queue] or left)
    if count > 0 then
      local lane = priority .. ':' .. queue
      local taken = take(lane, count)
      total = total + taken
      left = left - taken
      if bounds[queue] then
        bounds[queue] = bounds[queue] - taken
      end
      if taken < count and redis.call('SISMEMBER', prefix .. 'back', lane) == 0 then
        redis.call('ZREM', ready, queue)
      elseif taken > 0 then
        redis.call('ZADD', ready, redis.call('INCR', prefix .. 'tick'), queue)
      end
    end
    if left == 0 then
      return answer
    end
  end
end
if total == 0 and to_wait ~= '' then
  local time = redis.call('TIME')
  redis.call('ZADD', prefix .. 'waiting', time[1] + time[2] / 1000000, to_wait)
end
return answer
