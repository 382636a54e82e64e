"""The peer on the same ground: huey with its SQLite store, fsync on, the same number of no-op jobs."""

from __future__ import annotations

import logging
import threading
import time

from huey import SqliteHuey

from benchmarks import harness


def main(total: int = 4_000, workers: int = 4) -> float:
    """Jobs a second with ``workers`` threads; 1, 4 and 16 were within a sixth of each other here."""
    logging.getLogger("huey").setLevel(logging.ERROR)
    with harness.database() as path:
        huey = SqliteHuey(filename=str(path), fsync=True, results=False)
        left = total
        lock = threading.Lock()
        done = threading.Event()

        @huey.task()
        def noop() -> None:
            nonlocal left
            with lock:
                left -= 1
                if left == 0:
                    done.set()

        for _ in range(total):
            noop()
        consumer = huey.create_consumer(workers=workers, periodic=False, initial_delay=0.001, max_delay=0.01)
        begun = time.perf_counter()
        consumer.start()
        done.wait()
        speed = total / (time.perf_counter() - begun)
        consumer.stop(graceful=True)
        return speed


if __name__ == "__main__":
    print(f"{main():,.0f} jobs/s")
