"""Flux beside its peers, on the same servers in one run: ``make bench-peers``."""
