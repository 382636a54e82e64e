"""What people and programs do with jobs: submit, read, cancel, retry, change, copy, wait. Every door calls this."""

from __future__ import annotations

import builtins
from collections.abc import Awaitable, Callable

import msgspec

from flux.domain.duration import parse_duration, parse_instant
from flux.domain.errors import Conflict, FieldError, Invalid, NotFound
from flux.domain.ids import IdSource, is_id
from flux.domain.job import FINAL, Inserted, Job, JobState, LogLine, NewJob, Options, as_job
from flux.domain.request import (
    NAME_RULE,
    Bounds,
    JobRequest,
    Seconds,
    check_tags,
    json_problem,
    parse_job,
    queue_name,
)
from flux.engine.enqueue import Enqueuer
from flux.engine.ports import Change, Changed, Here, Hint, JobFilter, JobPage, Store
from flux.engine.results import Results
from flux.engine.schedules import ScheduleService

BULK_CHUNK = 500
BULK_LIMIT = 1_000_000


class Submitted(msgspec.Struct, frozen=True):
    """An accepted job as it stands, and how it came to be: ``created``, ``replayed`` or ``duplicate``."""

    job: Job
    how: str


class ChangeRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The body of ``PATCH /jobs/{id}``: only what is given is changed."""

    payload: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    queue: str | msgspec.UnsetType = msgspec.UNSET
    priority: int | msgspec.UnsetType = msgspec.UNSET
    run_at: str | msgspec.UnsetType = msgspec.UNSET
    timeout: Seconds | msgspec.UnsetType | None = msgspec.UNSET
    max_retries: int | msgspec.UnsetType = msgspec.UNSET
    expires_at: str | msgspec.UnsetType | None = msgspec.UNSET
    tags: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET


class JobService:
    """The application's verbs on jobs. All raise ``Unavailable`` when the store is away."""

    def __init__(
        self,
        store: Store,
        enqueuer: Enqueuer,
        schedules: ScheduleService,
        results: Results,
        ids: IdSource,
        bounds: Bounds,
    ) -> None:
        self._store = store
        self._enqueuer = enqueuer
        self._schedules = schedules
        self._results = results
        self._ids = ids
        self._bounds = bounds

    async def submit(self, request: JobRequest) -> Submitted:
        """Accept one job; with ``cron`` a schedule is made and its first occurrence answered.

        Raises ``Invalid``, ``Conflict``, ``TooDeep``.
        """
        job = self._enqueuer.prepare(request)
        if request.cron is not None:
            occurrence, how = await self._schedules.from_job(request, job)
            return Submitted(_under_key(occurrence, request, how), how)
        (inserted,) = await self._enqueuer.insert([job])
        stored = None if inserted.how == "created" else await self._store.queries.get(inserted.id)
        # A key may be held longer than its job is kept: then what is known of that is what was asked for, and its end.
        return Submitted(stored or as_job(job, inserted), inserted.how)

    async def submit_many(self, requests: list[JobRequest]) -> list[Inserted]:
        """Accept a batch in one transaction, all or none; answers are in the same order."""
        return await self._enqueuer.insert(self._enqueuer.prepare_all(requests))

    async def submit_within(
        self, connection: object, requests: list[JobRequest], here: Here | None = None
    ) -> builtins.list[Inserted]:
        """Accept jobs in the transaction that is open on a caller's own connection, all or none: they exist once that
        commits. Raises as ``submit`` does, and as ``Jobs.insert_within``."""
        if len(requests) == 1:
            job = self._enqueuer.prepare(requests[0])
            if requests[0].cron is not None:
                raise Invalid.one(
                    "cron", "a schedule is made in a transaction of its own: leave connection out"
                )
            return await self._enqueuer.insert_within(connection, [job], here)
        return await self._enqueuer.insert_within(connection, self._enqueuer.prepare_all(requests), here)

    async def get(self, job_id: str) -> Job:
        """One job with everything. Raises ``NotFound``."""
        job = await self._store.queries.get(job_id) if is_id(job_id) else None
        if job is None:
            raise NotFound(f"there is no job {job_id}")
        return job

    async def list(self, filter: JobFilter, limit: int, cursor: str | None, full: bool = False) -> JobPage:
        """A page of jobs, newest first."""
        return await self._store.queries.list(filter, limit, cursor, full)

    async def cancel(self, job_id: str, reason: str | None = None) -> Job:
        """Cancel: final at once when it waits, a request when it runs. Raises ``NotFound``, ``Conflict`` when final."""
        (changed,) = await self._store.jobs.cancel([job_id], reason)
        _check(job_id, changed, "cancelled")
        return await self.get(job_id)

    async def retry(self, job_id: str) -> Job:
        """A dead or cancelled job becomes available again. Raises ``NotFound``, ``Conflict`` otherwise."""
        (changed,) = await self._store.jobs.retry([job_id])
        _check(job_id, changed, "retried; only dead and cancelled ones can be")
        return await self._hinted(job_id)

    async def cancel_all(self, filter: JobFilter, reason: str | None = None) -> int:
        """Cancel every job of the filter that has not ended; how many were."""
        states = filter.states or tuple(sorted(set(JobState) - FINAL))
        return await self._in_bulk(
            msgspec.structs.replace(filter, states=states), lambda ids: self._store.jobs.cancel(ids, reason)
        )

    async def retry_all(self, filter: JobFilter) -> int:
        """Retry every dead (or, when asked for, cancelled) job of the filter; how many were."""
        states = filter.states or (JobState.DEAD,)
        count = await self._in_bulk(msgspec.structs.replace(filter, states=states), self._store.jobs.retry)
        if count:
            await self._enqueuer.poke()
        return count

    async def change(self, job_id: str, request: ChangeRequest) -> Job:
        """Edit a waiting job. Raises ``Invalid``, ``NotFound``, ``Conflict`` once it runs or has ended."""
        changed = await self._store.jobs.change(job_id, validate_change(request, self._bounds))
        _check(job_id, changed, "changed: only a job that waits can be")
        return await self._hinted(job_id)

    async def rerun(self, job_id: str, edits: ChangeRequest) -> Job:
        """A new job copied from a finished one, with edits, linked by ``copied_from``. Raises as ``change`` does."""
        change = validate_change(edits, self._bounds)
        source = await self.get(job_id)
        if source.state not in FINAL:
            raise Conflict(f"job {job_id} is {source.state}: only a finished job can be run again as a copy")
        copy = copy_of(source, self._ids.new(), change)
        (inserted,) = await self._enqueuer.insert([copy])
        return as_job(copy, inserted)

    async def wait(self, job_id: str, timeout: float) -> Job:
        """The job once it is final, or as it stands after ``timeout`` seconds. Raises ``NotFound``."""
        job = await self.get(job_id)
        if (job.state not in FINAL and await self._results.ended(job_id, timeout)) or job.state not in FINAL:
            job = await self.get(job_id)
        return job

    async def logs(
        self, job_id: str, after: int = 0, limit: int = 1000
    ) -> builtins.list[tuple[int, int, LogLine]]:
        """(sequence, attempt, line) after a sequence number, oldest first."""
        return await self._store.queries.logs(job_id, after, limit)

    async def _hinted(self, job_id: str) -> Job:
        """A job that may have become available just now, or moved to another lane."""
        job = await self.get(job_id)
        if job.state is JobState.AVAILABLE:
            await self._enqueuer.hint([Hint(job.id, job.queue, job.priority)])
        return job

    async def _in_bulk(
        self, filter: JobFilter, verb: Callable[[builtins.list[str]], Awaitable[builtins.list[Changed]]]
    ) -> int:
        # Selected first, page by page, so that what the verb changes does not move under the cursor.
        count, cursor = 0, None
        while count < BULK_LIMIT:
            page = await self._store.queries.list(filter, BULK_CHUNK, cursor, False)
            ids = [job.id for job in page.jobs]
            if ids:
                count += sum(changed.done for changed in await verb(ids))
            cursor = page.next_cursor
            if cursor is None:
                break
        return count


def _check(job_id: str, changed: Changed, verb: str) -> None:
    if changed.state is None:
        raise NotFound(f"there is no job {job_id}")
    if not changed.done:
        raise Conflict(changed.why or f"job {job_id} is {changed.state} and cannot be {verb}")


def _under_key(occurrence: Job, request: JobRequest, how: str) -> Job:
    """The answer to a request whose key stands for a schedule: it shows the key, whichever occurrence it is."""
    if how == "replayed":
        key = request.idempotency_key or occurrence.options.idempotency_key
        occurrence.options = msgspec.structs.replace(occurrence.options, idempotency_key=key)
    return occurrence


def copy_of(source: Job, job_id: str, change: Change) -> NewJob:
    """A new job like a finished one. Its keys are not copied: the copy is wanted although they are taken."""
    unset = msgspec.UNSET
    options = Options(
        tags=source.options.tags if change.tags is unset else change.tags,
        headers=source.options.headers,
        backoff=source.options.backoff,
        copied_from=source.id,
    )
    return NewJob(
        id=job_id,
        type=source.type,
        payload=(source.payload or b"{}") if change.payload is unset else change.payload,
        queue=source.queue if change.queue is unset else change.queue,
        priority=source.priority if change.priority is unset else change.priority,
        run_at=None if change.run_at is unset else change.run_at,
        timeout=source.timeout if change.timeout is unset else change.timeout,
        max_retries=source.max_retries if change.max_retries is unset else change.max_retries,
        expires_at=None if change.expires_at is unset else change.expires_at,
        options=options,
    )


def parse_change(raw: bytes) -> ChangeRequest:
    """Read an edit from JSON. Raises ``Invalid``."""
    try:
        return msgspec.json.decode(raw or b"{}", type=ChangeRequest)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$.")
        raise Invalid.one(path.rstrip("`") or "body", message) from None
    except RecursionError:
        raise Invalid.one("payload", "is nested too deep") from None


def validate_change(request: ChangeRequest, bounds: Bounds) -> Change:
    """The edit in the store's terms. Raises ``Invalid`` with every wrong field."""
    unset = msgspec.UNSET
    errors: list[FieldError] = []
    change = Change()

    def refuse(field: str, message: str) -> None:
        errors.append(FieldError(field, message))

    if request.payload is not unset:
        change.payload = bytes(request.payload)
        if problem := json_problem(change.payload, bounds.max_payload):
            refuse("payload", problem)
    if request.queue is not unset:
        change.queue = request.queue
        if not queue_name(request.queue):
            refuse("queue", NAME_RULE.format("queue", 100))
    if request.priority is not unset:
        change.priority = request.priority
        if not 1 <= request.priority <= 10:
            refuse("priority", "must be between 1 and 10; 10 runs first")
    if request.max_retries is not unset:
        change.max_retries = request.max_retries
        if not 0 <= request.max_retries <= 1000:
            refuse("max_retries", "must be between 0 and 1000")
    if request.timeout is not unset:
        change.timeout = None
        if request.timeout is not None:
            try:
                change.timeout = parse_duration(request.timeout)
                if change.timeout <= 0:
                    refuse("timeout", "must be positive")
            except ValueError as error:
                refuse("timeout", str(error))
    try:
        if request.run_at is not unset:
            change.run_at = parse_instant(request.run_at)
    except ValueError as error:
        refuse("run_at", str(error))
    try:
        if request.expires_at is not unset:
            change.expires_at = None if request.expires_at is None else parse_instant(request.expires_at)
    except ValueError as error:
        refuse("expires_at", str(error))
    if request.tags is not unset:
        check_tags(request.tags, refuse)
        change.tags = request.tags
    if errors:
        raise Invalid(errors)
    return change


__all__ = ["ChangeRequest", "JobService", "Submitted", "copy_of", "parse_change", "parse_job"]
