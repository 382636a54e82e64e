-- Hints go into their lanes, as long as those have room; past it a lane is marked full and passes hints by.
-- ARGV: the most of a lane, whether this is the dispatcher (who minds the room only), then pairs of lane and job ids.
local most, dispatcher = tonumber(ARGV[1]), ARGV[2] == '1'
for at = 3, #ARGV, 2 do
  local lane = ARGV[at]
  if not dispatcher and redis.call('HEXISTS', prefix .. 'full', lane) == 1 then
    redis.call('HINCRBY', prefix .. 'full', lane, 1)
  else
    local stream = stream_of(lane)
    local length = redis.call('XLEN', stream)
    if length == 0 then
      make_group(stream)
      redis.call('SADD', prefix .. 'lanes', lane)
    end
    local room = most - length
    local added = 0
    for id in string.gmatch(ARGV[at + 1], '%S+') do
      if added >= room then
        redis.call('HINCRBY', prefix .. 'full', lane, 1)
        break
      end
      redis.call('XADD', stream, '*', 'j', id)
      added = added + 1
    end
    if added > 0 then
      offer(lane, added)
    end
  end
end
return 1
