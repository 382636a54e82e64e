"""The file as the ports use it: works that write share commits on one thread, works that read have two of their own.

A *work* is a function of a connection, inside a transaction that somebody else begins and ends. It does SQL and
nothing else, and may be called again on another connection.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from random import Random
from typing import TypeVar

from flux.domain.errors import Unavailable
from flux.stores.sqlite.connection import Link
from flux.stores.sqlite.hub import Hub
from flux.stores.sqlite.works import Entry, Work, answer, look, transact

T = TypeVar("T")

logger = logging.getLogger("flux.sqlite")

READERS = 2
_IDLE = 1.0
_GAP = 0.001
_LONGEST_RUN = 0.05
_CALM = 2.0
"""Seconds without a failure until trouble counts as over: on a full disk what is small may still find room."""


class Database:
    """One file in one process. Safe to use from several threads and event loops.

    With ``inline`` every work runs in the calling task, on one connection and without threads: for deterministic
    simulation, where several databases may stand on one file in one thread.
    """

    def __init__(
        self,
        path: str,
        *,
        namespace: str = "default",
        clock: Callable[[], int] | None = None,
        inline: bool = False,
        jitter: Random | None = None,
        hub: Hub | None = None,
        patience: float = 5.0,
    ) -> None:
        """``clock`` gives the wall time in microseconds; ``patience`` is how many seconds a lock is waited for."""
        self.path = path
        self.namespace = namespace
        self.inline = inline
        self.hub = hub or Hub()
        self.jitter = jitter or Random()
        self._clock = clock or _wall
        self._patience = patience
        self._writer = self._link(reading=False)
        self._single = inline or self._writer.in_memory
        self._readers = [] if self._single else [self._link(reading=True) for _ in range(READERS)]
        self._writes: SimpleQueue[Entry | None] = SimpleQueue()
        self._reads: SimpleQueue[Entry | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._gate = threading.Lock()
        self._turn = threading.Lock()
        self._is_open = False
        self._in_use = False
        self._trouble_at: float | None = None

    def _link(self, *, reading: bool) -> Link:
        return Link(self.path, reading=reading, patience=self._patience, jitter=self.jitter)

    def another(self, *, inline: bool | None = None) -> Database:
        """The same file once more, with connections of its own: for the heartbeat's thread."""
        twin = Database(
            self.path,
            namespace=self.namespace,
            clock=self._clock,
            inline=self.inline if inline is None else inline,
            jitter=self.jitter,
            hub=self.hub,
            patience=self._patience,
        )
        if self._in_use:
            # Else it would put an empty file where a missing one was, for which SQLite deletes the log: the last
            # accepted jobs. Only its links know: the trouble of the file is told once, by this one.
            for link in (twin._writer, *twin._readers):
                link.schema_seen()
        return twin

    @property
    def in_memory(self) -> bool:
        """Whether there is no file."""
        return self._writer.in_memory

    def now(self) -> int:
        """The store's clock."""
        return self._clock()

    # --- life -------------------------------------------------------------------------------------------------

    async def open(self) -> bool:
        """Connect; False when that was done already. Raises ``Unavailable`` when the file cannot be written to."""
        with self._gate:
            if self._is_open:
                return False
            self._is_open = True
            if not self.inline:
                self._threads = [
                    threading.Thread(target=self._write_all, name="flux-sqlite-writer", daemon=True)
                ]
                for link in self._readers:
                    self._threads.append(
                        threading.Thread(
                            target=self._read_all, args=(link,), name="flux-sqlite-reader", daemon=True
                        )
                    )
                for thread in self._threads:
                    thread.start()
        try:
            await self.probe()
        except BaseException:
            await self.close()
            raise
        return True

    async def probe(self, patience: float | None = None) -> None:
        """Try to write, without writing. Raises ``Unavailable``; with ``patience``, after so many seconds at the latest
        where the writer waits for a lock, and ``TimeoutError`` where it is merely slow."""
        try:
            async with asyncio.timeout(patience):
                await self.write(_nothing)
        except TimeoutError:
            raise self._writer.blocked() or TimeoutError from None

    def schema_seen(self) -> None:
        """Say that the tables are there: a file without them is from now on somebody's mistake."""
        self._in_use = True
        for link in (self._writer, *self._readers):
            link.schema_seen()

    async def close(self) -> None:
        """Finish what is queued and disconnect."""
        with self._gate:
            if not self._is_open:
                return
            self._is_open = False
            # Under the gate, so that nothing can be queued behind the end.
            self._writes.put(None)
            for _ in self._readers:
                self._reads.put(None)
        threads, self._threads = self._threads, []
        if threads:
            try:
                await asyncio.get_running_loop().run_in_executor(None, _join, threads)
            except (
                RuntimeError
            ):  # the interpreter is ending and starts no threads any more: then nobody else waits
                _join(threads)
        elif self.inline:
            self._writer.drop()
        self._writes, self._reads = SimpleQueue(), SimpleQueue()

    # --- works ------------------------------------------------------------------------------------------------

    async def write(self, work: Work[T]) -> T:
        """Run a work in a transaction that writes; it has its answer once the commit is on the disk.

        What is queued while a commit is in flight shares the next one. An exception undoes its own work only.
        """
        return await self._submit(work, self._writes)

    async def read(self, work: Work[T]) -> T:
        """Run a work on one snapshot."""
        if self._single and not self.inline:
            return await self._submit(work, self._writes)
        return await self._submit(work, self._reads)

    async def _submit(self, work: Work[T], queue: SimpleQueue[Entry | None]) -> T:
        loop = asyncio.get_running_loop()
        if self.inline:
            if not self._is_open:
                raise Unavailable(f"The database {self.path} is closed.")
            return self._run_inline(work, writing=queue is self._writes)
        future = loop.create_future()
        entry = Entry(work, loop, future)
        with self._gate:
            if not self._is_open:
                raise Unavailable(f"The database {self.path} is closed.")
            queue.put(entry)
        result: T = await future
        return result

    def _run_inline(self, work: Work[T], *, writing: bool) -> T:
        entry = Entry(work)
        changed = False
        # Inline means the caller's task, but in memory a heartbeat's thread has to share the one connection.
        with self._turn:
            if writing:
                changed = transact(self._writer, [entry])
            else:
                look(self._writer, entry)
        if changed:
            self.hub.notify()
        if entry.error is not None:
            raise entry.error
        value: T = entry.value
        return value

    # --- the writer's thread ----------------------------------------------------------------------------------

    def _write_all(self) -> None:
        queue, link = self._writes, self._writer
        dirty = False
        last_end = 0.0
        run_since = 0.0
        while True:
            try:
                first = queue.get(timeout=_IDLE if dirty else None)
            except Empty:
                link.truncate_wal()
                dirty = False
                continue
            now = time.monotonic()
            if now - last_end > _GAP:
                run_since = now
            elif now < link.contended_until or now - run_since > _LONGEST_RUN:
                # Room for other processes, and for what may share this commit. The one that never waits does not
                # see that others do, so even without a sign of them a long run is interrupted.
                time.sleep(_GAP)
                run_since = time.monotonic()
            entries = [first]
            for _ in range(queue.qsize()):
                entries.append(queue.get())
            works = [entry for entry in entries if entry is not None and not entry.abandoned]
            if works:
                changed = transact(link, works)
                dirty = dirty or changed
                last_end = time.monotonic()
                self._tell(works, last_end)
                if changed:
                    # First, so that whoever has its answer also finds the version moved.
                    self.hub.notify()
                answer(works)
            if None in entries:
                link.drop()
                return

    def _tell(self, works: list[Entry], now: float) -> None:
        """Log the beginning and the end of trouble, once each: a server that refuses says nothing else."""
        failed = next((entry.error for entry in works if isinstance(entry.error, Unavailable)), None)
        if failed is not None and self._in_use:
            if self._trouble_at is None:
                logger.warning("%s Nothing can be accepted or written until that is over.", failed)
            self._trouble_at = now
        elif self._trouble_at is not None and now - self._trouble_at > _CALM:
            self._trouble_at = None
            logger.info("The database %s takes writes again.", self.path)

    # --- the readers' threads ---------------------------------------------------------------------------------

    def _read_all(self, link: Link) -> None:
        queue = self._reads
        while True:
            entry = queue.get()
            if entry is None:
                link.drop()
                return
            if not entry.abandoned:
                look(link, entry)
                answer([entry])


def _nothing(connection: sqlite3.Connection) -> None:
    """Write, without changing anything: shows that the file can be written to.

    ``BEGIN IMMEDIATE`` alone does not: on a file that was opened read-only SQLite makes it a reading transaction.
    """
    exists = connection.execute(
        "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'flux_migrations'"
    ).fetchone()[0]
    if exists:
        connection.execute("DELETE FROM flux_migrations WHERE 0")


def _join(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join()


def _wall() -> int:
    return time.time_ns() // 1000
