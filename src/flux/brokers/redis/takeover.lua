-- What consumers hold that have not been heard of for a while is given back, and what is of no use any more goes. Where a
-- lane has something to give and somebody waits for such all the same, the word did not reach him: it is said again.
-- ARGV: milliseconds of silence; the consumers that this is about, or none for all.
local silence = tonumber(ARGV[1])
local FORGOTTEN = 600000
local taken = 0
local some = #ARGV > 1
local wanted = {}
for at = 2, #ARGV do
  wanted[ARGV[at]] = true
end
for _, lane in ipairs(redis.call('SMEMBERS', prefix .. 'lanes')) do
  local stream = stream_of(lane)
  local entries, from = {}, '-'
  repeat
    local pending = redis.pcall('XPENDING', stream, GROUP, 'IDLE', silence, from, '+', 1000)
    local count = pending.err and 0 or #pending
    for at = 1, count do
      local consumer = pending[at][2]
      if consumer ~= BACK and (not some or wanted[consumer]) then
        entries[#entries + 1] = pending[at][1]
      end
    end
    if count > 0 then
      from = '(' .. pending[count][1]
    end
  until count < 1000
  if #entries > 0 then
    give_back(lane, entries, '')
    taken = taken + #entries
  end
  if some then
    for consumer in pairs(wanted) do
      redis.pcall('XGROUP', 'DELCONSUMER', stream, GROUP, consumer)
    end
  elseif redis.call('XLEN', stream) == 0 then
    redis.call('DEL', stream)
    redis.call('SREM', prefix .. 'lanes', lane)
    redis.call('SREM', prefix .. 'back', lane)
    local priority, queue = parts_of(lane)
    redis.call('ZREM', prefix .. 'ready:' .. priority, queue)
  else
    local priority, queue = parts_of(lane)
    if redis.call('ZSCORE', prefix .. 'ready:' .. priority, queue) then
      wake(queue, redis.call('XLEN', stream), '', '')
    end
    local consumers = redis.pcall('XINFO', 'CONSUMERS', stream, GROUP)
    for _, consumer in ipairs(consumers.err and {} or consumers) do
      if consumer[2] ~= BACK and consumer[4] == 0 and consumer[6] > FORGOTTEN then
        redis.call('XGROUP', 'DELCONSUMER', stream, GROUP, consumer[2])
      end
    end
  end
end
return taken
