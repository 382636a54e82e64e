"""Real servers on this machine without Docker: what finds, starts, hurts and stops PostgreSQL, Redis and PgBouncer.

`make db-up` (``python -m scripts.servers``), the tests and the benchmarks share it. Nothing outside the standard
library is imported, and nothing is started that is not stopped by the same hand: each server lives in a folder of
its own, listens on 127.0.0.1, and is run by an ordinary user even where root asks (PostgreSQL refuses root).
"""
