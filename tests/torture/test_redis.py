"""Redis is wiped, restarted, gone, full, unreachable: jobs run all the same, and people are told."""

from __future__ import annotations

import pytest
import redis

from scripts.servers.redis import RedisServer
from tests.servers.private import Servers
from tests.torture.hosted import SCALE, Client, Hosted, each, says_in_health

pytestmark = pytest.mark.torture

WITHOUT = "Jobs run all the same: workers look into the database themselves, and start them a little later"


def test_wiped_restarted_gone_and_full_in_one_day(
    hosted: Hosted, servers: Servers, private_redis: RedisServer
) -> None:
    proxy = servers.proxy(private_redis.url)
    hosted.settings["REDIS_URL"] = proxy.url
    api, rest = hosted.api()
    staff = [api, hosted.leader(), hosted.worker()]
    client = Client(rest)
    client.start()
    says_in_health(rest, "/health", "ok")

    def ill_and_well(words: str) -> None:
        says_in_health(rest, "/health", "degraded", words)
        says_in_health(rest, "/health/redis", "down", words)
        assert rest.status("/health/ready") == 200
        # What is accepted now is run now.
        client.sends(10)
        during = rest.submit("echo")
        assert hosted.ended(during).state == "succeeded"

    with redis.Redis.from_url(private_redis.url) as server:
        for _ in range(SCALE):
            client.sends(20)
            server.flushall()
            client.sends(20)
            # Restarted at once.
            private_redis.restart()
            client.sends(20)
            says_in_health(rest, "/health", "ok")
            # Gone for a while.
            private_redis.kill()
            ill_and_well("cannot be used")
            each(staff, "cannot be used", WITHOUT)
            private_redis.start()
            says_in_health(rest, "/health", "ok")
            each(staff, "is back after")
            # Out of memory.
            server.config_set("maxmemory", "1")
            ill_and_well("maxmemory")
            server.config_set("maxmemory", "0")
            says_in_health(rest, "/health", "ok")
            # Cut off, in silence.
            proxy.pause()
            ill_and_well("cannot be used")
            proxy.resume()
            says_in_health(rest, "/health", "ok")
    client.sends(10)
    client.stop()
    hosted.audit_all(client)
    assert len(staff[2].worker_ids) == 1
    hosted.no_traceback()
