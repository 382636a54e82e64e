"""What tests get of the servers that a run shares."""

from __future__ import annotations

import redis

from tests.servers.asking import ask
from tests.servers.run import Run
from tests.servers.shared import SharedPostgres, SharedRedis


async def test_each_test_has_a_database_of_its_own(
    shared_postgres: SharedPostgres, empty_database_url: str
) -> None:
    other = shared_postgres.create_database()
    await ask(empty_database_url, "CREATE TABLE mine (id int)")
    assert await ask(empty_database_url, "SELECT to_regclass('mine')") == "mine"
    assert await ask(other, "SELECT to_regclass('mine')") is None
    shared_postgres.drop_database(other)


async def test_a_template_is_filled_once_and_copied(
    shared_postgres: SharedPostgres, servers_run: Run
) -> None:
    import psycopg

    def fill(url: str) -> None:
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE filled (id int)")

    # Another process of the run may have been first; a second object here is a process of its own to the run.
    for place in (shared_postgres, SharedPostgres(servers_run)):
        url = place.create_database(place.template("sample", fill))
        assert await ask(url, "SELECT to_regclass('filled')") == "filled"
        place.drop_database(url)


def test_each_test_has_a_redis_of_its_own(redis_url: str, shared_redis: SharedRedis) -> None:
    other = shared_redis.create_database()
    with redis.Redis.from_url(redis_url) as mine, redis.Redis.from_url(other) as yours:
        mine.set("key", "mine")
        yours.set("key", "yours")
        shared_redis.drop_database(other)
        assert mine.get("key") == b"mine"
        assert yours.get("key") is None
