"""Celery on Redis."""

from __future__ import annotations

from celery import Celery
from harness import REDIS, SyncPeer, handle, main
from redis import Redis

app = Celery("bench", broker=REDIS)
app.conf.update(
    task_ignore_result=True,
    worker_prefetch_multiplier=128,
    worker_hijack_root_logger=False,
    broker_pool_limit=32,
    broker_connection_retry_on_startup=True,
)


@app.task(name="noop")
def noop(job: str) -> None:
    handle(job)


class WithCelery(SyncPeer):
    """There is no bulk way; a batch shares one producer, as the calling guide advises."""

    async def open(self) -> None:
        self.redis = Redis.from_url(REDIS)

    def insert_batch(self, jobs: list[str]) -> None:
        with app.amqp.producer_pool.acquire(block=True) as producer:
            for job in jobs:
                noop.apply_async((job,), producer=producer)

    def send(self, job: str) -> None:
        noop.delay(job)

    def count(self) -> int:
        return self.redis.llen("celery") + self.redis.hlen("unacked")

    def serve(self) -> None:
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=WARNING"]
        app.worker_main(["worker", "--pool=solo", *quiet])


if __name__ == "__main__":
    main(WithCelery())
