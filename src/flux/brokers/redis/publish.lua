-- Hints go into their lanes, as long as those have room; past it a lane is marked full and passes hints by.
-- ARGV: the most of a lane, whether this is the dispatcher (who minds the room only), then pairs of lane and job ids.
local most, dispatcher = tonumber(ARGV[1]), ARGV[2] == '1'
for at = 3, #ARGV, 2 do
  local lane, ids = ARGV[at], split(ARGV[at + 1])
  local added = 0
  if dispatcher or redis.call('HEXISTS', prefix .. 'full', lane) == 0 then
    local stream = stream_of(lane)
    local length = redis.call('XLEN', stream)
    if length == 0 then
      make_group(stream)
      redis.call('SADD', prefix .. 'lanes', lane)
    end
    added = math.max(0, math.min(#ids, most - length))
    for nth = 1, added do
      redis.call('XADD', stream, '*', 'j', ids[nth])
    end
  end
  if added < #ids then
    redis.call('HINCRBY', prefix .. 'full', lane, #ids - added)
  end
  if added > 0 then
    offer(lane, added)
  end
end
return 1
