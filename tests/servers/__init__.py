"""Real servers for tests: ask for a fixture and one is there; for tests that ask for none, nothing starts.

Shared by all processes of a run, each test with a database of its own in it (milliseconds):

- ``database_url``        a fresh PostgreSQL database with the newest schema of Flux, dropped at the end
- ``empty_database_url``  the same with nothing in it
- ``redis_url``           a fresh numbered Redis database; channels, scripts and settings are everybody's
- ``shared_postgres``     ``create_database(template)``, ``drop_database(url)``, ``template(name, fill)``
- ``shared_redis``        ``create_database()``, ``drop_database(url)``

Of one test's own, durable, and there to be hurt (PostgreSQL in about half a second, the others at once):

- ``private_postgres``    started: ``url``, ``stop("immediate")``, ``kill()``, ``start()``, ``restart()``, ``pause()``,
  ``resume()``, ``log``; on the same port ever after
- ``private_redis``       the same for Redis
- ``servers``             makes more: ``postgres(settings={...}, tls=...)``, ``standby(primary)`` (then ``promote()``),
  ``pgbouncer(primary)``, ``redis(users={...}, tls=..., settings={...})``, ``tls()``, and ``proxy(url)``: a network
  that cuts, refuses, pauses and delays (``tests.servers.proxy``)

``tests.servers.schema.migrate(url, to=...)`` brings an empty database to any schema. Whatever was started is gone when
the run ends, however it ends: a janitor outlives it and cleans up (``tests.servers.run``).
"""
