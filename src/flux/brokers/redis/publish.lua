-- Hints go into their lanes, as long as those have room; past it a lane is marked full and passes hints by.
-- ARGV: the most of a lane, whether this is the dispatcher (who minds the room only), the kinds that had them in vain, then
-- pairs of lane and job ids. Answers how many found room.
local most, dispatcher, tried = tonumber(ARGV[1]), ARGV[2] == '1', ARGV[3]

-- A single hint for a lane that has nothing to give goes with the word that wakes somebody who waits for such, and nowhere
-- else: it saves him the way here, and when he comes to grief the dispatcher gives it again. Who cannot claim it sends it on
-- to another kind.
local function hand_over(lane, id)
  local priority, queue = parts_of(lane)
  local text = ' ' .. id .. ' ' .. lane .. ' ' .. tried
  return not redis.call('ZSCORE', prefix .. 'ready:' .. priority, queue) and wake(queue, 1, text, tried)
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
for at = 4, #ARGV, 2 do
  local lane, ids = ARGV[at], split(ARGV[at + 1])
  local open = dispatcher or redis.call('HEXISTS', prefix .. 'full', lane) == 0
  local added = 0
  if open and #ids == 1 and hand_over(lane, ids[1]) then
    added = 1
  else
    if open then
      added = put(lane, ids)
    end
    if added < #ids then
      redis.call('HINCRBY', prefix .. 'full', lane, #ids - added)
    end
    if added > 0 then
      offer(lane, added, tried)
    end
  end
  total = total + added
end
return total
