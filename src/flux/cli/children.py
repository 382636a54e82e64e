"""Child processes of a supervisor: started in a session of their own, stopped gracefully, gone when it is gone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence

from flux.cli.signals import PARENT_FD


class Child:
    """One command that is started, and started again."""

    def __init__(self, arguments: Sequence[str], environ: Mapping[str, str] | None = None) -> None:
        """``environ`` is added to this process's own."""
        self._arguments = list(arguments)
        self._environ = environ or {}
        self._process: asyncio.subprocess.Process | None = None
        # Nobody writes to it: its end is the message that this supervisor is gone.
        self._reading, self._writing = os.pipe()

    @property
    def pid(self) -> int | None:
        """The process that runs now."""
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Start the command."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "flux",
            *self._arguments,
            # Ctrl+C reaches a whole group: the children would hear it twice, and twice means at once. A session of its
            # own is more than is needed, but uvloop knows no `process_group`.
            start_new_session=True,
            pass_fds=(self._reading,),
            env={**os.environ, **self._environ, PARENT_FD: str(self._reading)},
        )

    async def wait(self) -> int:
        """The exit code (negative: the signal that killed it)."""
        assert self._process is not None
        return await self._process.wait()

    def send(self, number: int) -> None:
        """Pass a signal on."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def end(self, patience: float) -> int:
        """Ask it to end, and kill it when it has not after so many seconds."""
        self.send(signal.SIGTERM)
        try:
            async with asyncio.timeout(patience):
                return await self.wait()
        except TimeoutError:
            self.send(signal.SIGKILL)
            return await self.wait()

    def close(self) -> None:
        """Let go of the pipe."""
        os.close(self._reading)
        os.close(self._writing)
