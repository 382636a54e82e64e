"""huey on Redis."""

from __future__ import annotations

import logging

from harness import REDIS, SyncPeer, handle, main
from huey import RedisHuey

huey = RedisHuey("bench", url=REDIS, results=False, blocking=True)


@huey.task()
def noop(job: str) -> None:
    handle(job)


class WithHuey(SyncPeer):
    """There is no bulk way, and a job leaves Redis when a worker takes it: there is nothing more to wait for."""

    def send(self, job: str) -> None:
        noop(job)

    def count(self) -> int:
        return huey.pending_count()

    def serve(self) -> None:
        logging.getLogger("huey").setLevel(logging.ERROR)
        huey.create_consumer(workers=8, worker_type="thread", periodic=False).run()


if __name__ == "__main__":
    main(WithHuey())
