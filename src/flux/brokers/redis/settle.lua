-- Forget hints, or give them back. ARGV: triples.
settle(1)
return 1
