"""dramatiq on Redis."""

from __future__ import annotations

import threading

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from harness import REDIS, SyncPeer, handle, main

broker = RedisBroker(url=REDIS)
dramatiq.set_broker(broker)


@dramatiq.actor
def noop(job: str) -> None:
    handle(job)


class WithDramatiq(SyncPeer):
    """There is no bulk way: `group` too sends one by one."""

    def send(self, job: str) -> None:
        noop.send(job)

    def count(self) -> int:
        # Every message that is not acknowledged.
        return broker.client.hlen("dramatiq:default.msgs")

    def serve(self) -> None:
        dramatiq.Worker(broker, worker_threads=8).start()
        threading.Event().wait()


if __name__ == "__main__":
    main(WithDramatiq())
