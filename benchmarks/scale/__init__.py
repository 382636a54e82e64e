"""Flux on PostgreSQL, larger and longer than a drain: many rows, many workers, many runs."""
