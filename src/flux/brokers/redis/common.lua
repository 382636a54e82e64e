#!lua
-- What the scripts share; it stands before each of them. KEYS[1] is the prefix of all keys of a namespace. Its hash tag
-- keeps them in one slot.
--
--   lane:<priority>:<queue>   a stream of hints: field j is the job's id. Group "flux", made with id 0.
--   ready:<priority>          queues that have hints to give, the one served longest ago first
--   back                      lanes with hints that were given back: the consumer "back" holds them until somebody wants
--                             them, so that they keep their place in front of younger ones
--   full                      lane -> hints not published since it was full
--   lanes                     every lane there is
--   waiting                   workers that found nothing, longest waiting first: "<process> <kind> <worker> <wants>"
--   tick                      counts reads, to take queues in turn
--
-- No script has flags: a Redis without memory, or a read-only one, refuses each of them before it does anything.
local prefix = KEYS[1]
local GROUP, BACK = 'flux', 'back'

local function stream_of(lane)
  return prefix .. 'lane:' .. lane
end

local function parts_of(lane)
  local colon = string.find(lane, ':', 1, true)
  return string.sub(lane, 1, colon - 1), string.sub(lane, colon + 1)
end

local function split(text)
  local words = {}
  for word in string.gmatch(text, '%S+') do
    words[#words + 1] = word
  end
  return words
end

-- Calls with many arguments, as few times as the stack of Lua allows.
local function with_all(words, call)
  for first = 1, #words, 1000 do
    call(unpack(words, first, math.min(first + 999, #words)))
  end
end

local function make_group(stream)
  redis.pcall('XGROUP', 'CREATE', stream, GROUP, '0', 'MKSTREAM')
end

-- wants: "*" are all queues, without those of its lines that begin with "!"; else one queue a line.
local function serves(wants, queue)
  if string.sub(wants, 1, 1) == '*' then
    return not string.find(wants, '\n!' .. queue .. '\n', 1, true)
  end
  return string.find(wants, '\n' .. queue .. '\n', 1, true) ~= nil
end

-- Tell as many as there are hints, of those who take such; whether all of them could be told. Whoever does not hear it any
-- more is forgotten. Workers of a kind know the same types of jobs: of the kinds that have tried in vain nobody is told.
local function wake(queue, hints, text, tried)
  local first = 0
  while hints > 0 do
    local found = redis.call('ZRANGE', prefix .. 'waiting', first, first + 15)
    if #found == 0 then
      return false
    end
    for _, member in ipairs(found) do
      local process, kind, worker, wants = string.match(member, '^(%S+) (%S+) (%S+) (.*)$')
      if serves(wants, queue) and not string.find(tried, kind, 1, true) then
        redis.call('ZREM', prefix .. 'waiting', member)
        if redis.call('PUBLISH', prefix .. 'wake:' .. process, worker .. text) > 0 then
          hints = hints - 1
          if hints == 0 then
            return true
          end
        end
      else
        first = first + 1
      end
    end
  end
end

-- A lane has something to give.
local function offer(lane, hints, tried)
  local priority, queue = parts_of(lane)
  redis.call('ZADD', prefix .. 'ready:' .. priority, 'NX', redis.call('GET', prefix .. 'tick') or 0, queue)
  wake(queue, hints, '', tried)
end

-- What is older than this was given to somebody and is done with: the oldest entry that somebody holds, else the first that
-- nobody was given yet. Nothing where the group is gone.
local function oldest_in_use(stream)
  local pending = redis.pcall('XPENDING', stream, GROUP, '-', '+', 1)
  if pending.err or pending[1] then
    return not pending.err and pending[1][1]
  end
  local group = redis.call('XINFO', 'GROUPS', stream)[1]
  for at = 1, #group, 2 do
    if group[at] == 'last-delivered-id' then
      local time, number = string.match(group[at + 1], '^(%d+)-(%d+)$')
      return time .. '-' .. (number + 1)
    end
  end
end

-- A full lane that has come down to half of its most lets the dispatcher know.
local function forget(lane, entries, most)
  local stream = stream_of(lane)
  with_all(entries, function(...)
    redis.call('XACK', stream, GROUP, ...)
  end)
  -- From its front a stream is cut in no time; to delete each entry takes 3 us.
  local oldest = oldest_in_use(stream)
  if not oldest or redis.call('XTRIM', stream, 'MINID', oldest) < #entries then
    with_all(entries, function(...)
      redis.call('XDEL', stream, ...)
    end)
  end
  if redis.call('HEXISTS', prefix .. 'full', lane) == 1 and redis.call('XLEN', stream) < most / 2 then
    redis.call('PUBLISH', prefix .. 'poke', lane)
  end
end

local function give_back(lane, entries, tried)
  local stream = stream_of(lane)
  local given = 0
  with_all(entries, function(...)
    local arguments = { ... }
    arguments[#arguments + 1] = 'JUSTID'
    local claimed = redis.pcall('XCLAIM', stream, GROUP, BACK, 0, unpack(arguments))
    if not claimed.err then
      given = given + #claimed
    end
  end)
  if given > 0 then
    redis.call('SADD', prefix .. 'back', lane)
    offer(lane, given, tried)
  end
end

-- Fours from ARGV[first] on: lane, entries to forget, entries to give back, and which kinds had those in vain.
local function settle(first, most)
  for at = first, #ARGV, 4 do
    local done, back = split(ARGV[at + 1]), split(ARGV[at + 2])
    if #done > 0 then
      forget(ARGV[at], done, most)
    end
    if #back > 0 then
      give_back(ARGV[at], back, ARGV[at + 3])
    end
  end
end
