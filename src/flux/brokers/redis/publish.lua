-- Hints go into their lanes, as long as those have room; past it a lane is marked full and passes hints by.
-- ARGV: the most of a lane, from whom they are, then pairs of lane and job ids. Answers how many found room.
local most = tonumber(ARGV[1])
-- The dispatcher minds the room only; what a worker could not claim is not handed to the next one in this way.
local dispatcher, worker = ARGV[2] == 'dispatcher', ARGV[2] == 'worker'

-- A single hint for a lane that has nothing to give goes with the word that wakes somebody who waits for such, and nowhere
-- else: it saves him the way here, and when he comes to grief the dispatcher gives it again.
local function hand_over(lane, id)
  local priority, queue = parts_of(lane)
  return not redis.call('ZSCORE', prefix .. 'ready:' .. priority, queue) and wake(queue, 1, ' ' .. id .. ' ' .. lane)
end

local function put(lane, ids)
  local stream = stream_of(lane)
  local length = redis.call('XLEN', stream)
  if length == 0 and redis.call('SADD', prefix .. 'lanes', lane) == 1 then
    make_group(stream)
  end
  local room = math.min(#ids, most - length)
  for nth = 1, room do
    redis.call('XADD', stream, '*', 'j', ids[nth])
  end
  return math.max(0, room)
end

local total = 0
for at = 3, #ARGV, 2 do
  local lane, ids = ARGV[at], split(ARGV[at + 1])
  local open = dispatcher or redis.call('HEXISTS', prefix .. 'full', lane) == 0
  local added = 0
  if open and #ids == 1 and not worker and hand_over(lane, ids[1]) then
    added = 1
  else
    if open then
      added = put(lane, ids)
    end
    if added < #ids then
      redis.call('HINCRBY', prefix .. 'full', lane, #ids - added)
    end
    if added > 0 then
      offer(lane, added)
    end
  end
  total = total + added
end
return total
