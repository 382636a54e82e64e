"""A handler's own transactions."""

from __future__ import annotations

from typing import Any, Protocol


class Transaction(Protocol):
    """A transaction of a handler, in which its job's success commits together with what it wrote."""

    @property
    def connection(self) -> Any:
        """The driver's connection, for the handler."""
        ...

    async def complete(self, job_id: str, claim_id: int, result: bytes) -> bool:
        """End the job as succeeded and commit, in that order with nothing between.

        False: the claim was no longer ours, and everything was rolled back. Raises ``InDoubt`` when the answer to the
        commit was lost, and what the driver raises when the database refused it (then it was rolled back).
        """
        ...

    async def rollback(self) -> None:
        """Undo everything; never raises."""
        ...


class Transactions(Protocol):
    """Transactions for handlers."""

    async def begin(self, isolation: str) -> Transaction:
        """On a connection of its own; who finds none waits his turn. Raises ``Unavailable``, or ``FluxError`` of a
        store that has none."""
        ...

    async def kept(self, job_id: str, claim_id: int) -> bool | None:
        """What became of a commit whose answer was lost, once that is over: True when the job has succeeded under this
        claim, False when it still runs under it, None when the job is somebody else's. Raises ``Unavailable``."""
        ...
