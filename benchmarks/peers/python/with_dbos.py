"""DBOS: a workflow of no step is the nearest it has to a job."""

from __future__ import annotations

import threading

import sqlalchemy
from dbos import DBOS, DBOSClient
from harness import CALLERS, POSTGRES, SyncPeer, handle, main

URL = POSTGRES.replace("postgresql://", "postgresql+psycopg://")
NOOP = {"workflow_name": "noop", "queue_name": "bench"}


@DBOS.workflow(name="noop")
def noop(job: str) -> None:
    handle(job)


def _launch() -> None:
    DBOS(
        config={
            "name": "bench",
            "system_database_url": POSTGRES,
            "sys_db_pool_size": CALLERS,
            "console_log_level": "ERROR",
            "application_version": "1",
        }
    )
    DBOS.launch()
    DBOS.register_queue("bench", worker_concurrency=100, polling_interval_sec=0.01)


class WithDbos(SyncPeer):
    """A batch is one transaction of the caller's; there is no bulk way beyond that."""

    async def open(self) -> None:
        self.client = DBOSClient(system_database_url=POSTGRES)
        self.engine = sqlalchemy.create_engine(URL)

    def make(self) -> None:
        _launch()
        DBOS.destroy()

    def insert_batch(self, jobs: list[str]) -> None:
        with self.engine.begin() as connection:
            for job in jobs:
                self.client.enqueue_in_transaction(connection, NOOP, job)

    def send(self, job: str) -> None:
        self.client.enqueue(NOOP, job)

    def count(self) -> int:
        with self.engine.connect() as connection:
            text = "SELECT count(*) FROM dbos.workflow_status WHERE status IN ('ENQUEUED', 'PENDING')"
            return int(connection.execute(sqlalchemy.text(text)).scalar_one())

    def serve(self) -> None:
        _launch()
        threading.Event().wait()


if __name__ == "__main__":
    main(WithDbos())
