-- A lane is full no more, unless it has passed hints by since ARGV[2] of them were counted. ARGV: lane, that number.
if redis.call('HGET', prefix .. 'full', ARGV[1]) == ARGV[2] then
  return redis.call('HDEL', prefix .. 'full', ARGV[1])
end
return 0
