"""SQLite has one writer at a time: a handler that held it until its end would keep every other job waiting."""

from __future__ import annotations

from flux.domain.errors import FluxError
from flux.engine.ports import Transaction


class NoTransactions:
    """Refuses in words."""

    async def begin(self, isolation: str) -> Transaction:
        """See the port. Always raises ``FluxError``."""
        raise FluxError(
            "ctx.transaction() needs PostgreSQL: an SQLite file has one writer at a time, and a handler that were it "
            "until its end would hold up every other job"
        )

    async def kept(self, job_id: str, claim_id: int) -> bool | None:
        """See the port."""
        return None
