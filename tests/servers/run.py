"""One test run, over all its processes: a folder for the servers, and the certainty that they go when it goes."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from scripts.servers.processes import until
from tests.servers import janitor


class Run:
    """This process's part in a run. The folder is made by the first process; its helpers (xdist) are told where it is.

    Every process holds a shared lock on one file in it. The janitor, started with the first server, waits for the
    exclusive one: it gets that when the last process has ended, in order or by kill -9.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._began = folder is None
        # Short, for the sockets in it; and the servers' user must be able to pass through.
        self.folder = folder or Path(tempfile.mkdtemp(prefix="flux-"))
        if self._began:
            self.folder.chmod(0o711)
        self._alive: IO[bytes] = (self.folder / janitor.ALIVE).open("a+b")
        fcntl.flock(self._alive, fcntl.LOCK_SH)
        self._names = itertools.count(1)

    def new_folder(self) -> Path:
        """Room for one server of this process."""
        self.employ_janitor()
        return self.folder / f"{os.getpid()}-{next(self._names)}"

    def employ_janitor(self) -> None:
        """Must be called before a server is started in the folder."""
        with self.lock("janitor") as first:
            if not first:
                return
            command = [sys.executable, "-I", janitor.__file__, str(self.folder)]
            # In a session of its own: Ctrl-C is for the run.
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
            process.returncode = 0  # nobody waits for it here, which Popen would complain about

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[bool]:
        """One process of the run at a time; True for the first that ends its block without an error."""
        file = self.folder / f"{name}.lock"
        with file.open("a+b") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield file.stat().st_size == 0
            if file.stat().st_size == 0:
                lock.write(b"done")
                lock.flush()

    def close(self) -> None:
        """Let go. The process that began the run waits until the janitor has cleaned up."""
        # Asked before letting go: from then on the janitor is removing the folder, that file among the first.
        janitor_employed = (self.folder / "janitor.lock").exists()
        self._alive.close()
        if not self._began:
            return
        if janitor_employed:
            until(lambda: not self.folder.exists())
        else:
            shutil.rmtree(self.folder)
