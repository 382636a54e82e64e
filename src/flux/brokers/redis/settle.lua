-- Forget hints, or give them back. ARGV: the most of a lane, fours.
settle(2, tonumber(ARGV[1]))
return 1
