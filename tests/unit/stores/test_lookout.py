"""What the lookout sees: every commit of others, and whether it was more than somebody keeping a lease."""

from __future__ import annotations

from pathlib import Path

from flux.domain.duration import SECOND
from flux.domain.job import NewJob
from flux.stores.sqlite.lookout import Glass
from flux.stores.sqlite.store import SqliteStore


async def test_a_renewed_lease_is_a_change_and_no_event(tmp_path: Path) -> None:
    store = SqliteStore(str(tmp_path / "x.db"))
    await store.open()
    glass = Glass(str(tmp_path / "x.db"))
    try:
        assert glass.changed(), "the first look counts as a change"
        glass.eventful()
        assert not glass.changed()
        await store.duties.lead("me", SECOND)
        assert glass.changed()
        assert not glass.eventful()
        await store.jobs.insert([[NewJob(id="a", type="t")]])
        assert glass.changed()
        assert glass.eventful()
        assert not glass.eventful(), "told once"
    finally:
        glass.close()
        await store.close()


async def test_a_file_that_is_not_there_yet_is_seen_when_it_comes(tmp_path: Path) -> None:
    glass = Glass(str(tmp_path / "x.db"))
    assert not glass.changed()
    store = SqliteStore(str(tmp_path / "x.db"))
    await store.open()
    assert glass.changed()
    glass.close()
    await store.close()
