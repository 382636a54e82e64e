"""RQ on Redis."""

from __future__ import annotations

from harness import REDIS, SyncPeer, handle
from redis import Redis
from rq import Queue, SimpleWorker


def noop(job: str) -> None:
    handle(job)


class WithRq(SyncPeer):
    """`SimpleWorker` does not fork for each job."""

    def __init__(self) -> None:
        self.queue = Queue("bench", connection=Redis.from_url(REDIS))

    def insert_batch(self, jobs: list[str]) -> None:
        with self.queue.connection.pipeline() as pipeline:
            datas = [Queue.prepare_data(noop, (job,), result_ttl=0) for job in jobs]
            self.queue.enqueue_many(datas, pipeline=pipeline)
            pipeline.execute()

    def send(self, job: str) -> None:
        self.queue.enqueue(noop, job, result_ttl=0)

    def count(self) -> int:
        return self.queue.count + self.queue.started_job_registry.count

    def serve(self) -> None:
        SimpleWorker([self.queue], connection=self.queue.connection).work(logging_level="WARNING")


if __name__ == "__main__":
    # The worker imports the handler by its module's name, which must not be __main__.
    import with_rq
    from harness import main

    main(with_rq.WithRq())
