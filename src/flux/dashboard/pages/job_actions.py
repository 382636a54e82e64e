"""What is done to one job."""

from __future__ import annotations

import msgspec

from flux.dashboard.http import Query, Request
from flux.dashboard.site import Done, Site
from flux.domain.errors import Invalid
from flux.domain.job import JobState
from flux.engine.jobs import ChangeRequest


async def retry(site: Site, form: Query, parts: dict[str, str], request: Request) -> Done:
    """A dead or cancelled job runs again."""
    job = await site.engine.jobs.retry(parts["id"])
    return Done(f"{job.type} will run again.")


async def cancel(site: Site, form: Query, parts: dict[str, str], request: Request) -> Done:
    """It ends here, or its handler is asked to stop."""
    job = await site.engine.jobs.cancel(parts["id"], form.get("reason").strip() or None)
    if job.state is JobState.CANCELLED:
        return Done(f"{job.type} is cancelled.")
    return Done(f"{job.type} is running; its handler was asked to stop.")


async def rerun(site: Site, form: Query, parts: dict[str, str], request: Request) -> Done:
    """A copy of it, with the payload that was typed, is enqueued; its page comes next."""
    edits = ChangeRequest()
    raw = form.get("payload").strip()
    if raw:
        try:
            # Decoded here so that a typing mistake is told with its place, and nothing is stored.
            edits.payload = msgspec.Raw(msgspec.json.encode(msgspec.json.decode(raw)))
        except (msgspec.DecodeError, RecursionError) as error:
            raise Invalid.one("payload", f"this is not JSON: {error}") from None
    job = await site.engine.jobs.rerun(parts["id"], edits)
    return Done(f"A copy of {job.type} was enqueued; this is it.", go=f"/jobs/{job.id}")
