"""The schema of Flux in a test's PostgreSQL."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor


def migrate(url: str, to: int | None = None) -> None:
    """Bring a database to the schema of that number, None the newest, as `flux migrate up` does."""
    from flux.config import build_engine, load_settings

    store = build_engine(load_settings({"DATABASE_URL": url}), migrate=False).store
    # In a thread of its own: a fixture may be asked for while the test's event loop runs.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, store.migrate(to)).result()
