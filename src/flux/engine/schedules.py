"""What people and programs do with schedules. Every door calls this."""

from __future__ import annotations

import builtins
from collections.abc import Collection, Sequence
from hashlib import blake2b
from random import Random

import msgspec

from flux.domain.errors import Conflict, FieldError, Invalid, KeyTaken, NotFound
from flux.domain.ids import IdSource
from flux.domain.job import Inserted, Job, NewJob, as_job
from flux.domain.request import DEFAULT_BOUNDS, Bounds, JobRequest
from flux.domain.schedule import Once, ScheduleSpec
from flux.engine.enqueue import Enqueuer
from flux.engine.occurrences import first_occurrence, job_of, occurrence_of, read_spec
from flux.engine.ports import PARKED, JobFilter, Schedule, Store
from flux.engine.schedule_request import (
    JOB_FIELDS,
    ScheduleRequest,
    note_problem,
    patched,
    validate_schedule,
    written,
)

UPCOMING = 5
LATEST = 20
_TRIES = 5
_HELD = 1000
"""Of how many fire times we look up whether they are taken; past that, promotion goes on by itself."""


class ScheduleView(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule as people see it. ``request`` is what would make it; ``rule`` says in words when it fires.

    ``upcoming`` are the next fire times (µs; of a paused one those it would have), ``latest`` the newest occurrences
    that are past: (fire time, job id, state), newest first; None in lists. When the stored rule cannot be read here,
    ``readable`` is false, ``rule`` says why, and ``spec`` has only the name.
    """

    schedule: Schedule
    spec: ScheduleSpec
    rule: str
    upcoming: list[int]
    latest: list[tuple[int, str, str]] | None = None
    readable: bool = True

    @property
    def request(self) -> dict[str, object]:
        """The fields of ``POST /schedules`` that make this schedule."""
        fields = written(self.spec, self.schedule.note)
        if not self.readable:
            del fields["at"]  # of the rule that stands in for it
        return fields


class ScheduleService:
    """The application's verbs on schedules. All raise ``Unavailable`` when the store is away."""

    def __init__(
        self,
        store: Store,
        enqueuer: Enqueuer,
        ids: IdSource,
        random: Random,
        bounds: Bounds = DEFAULT_BOUNDS,
    ) -> None:
        self._store = store
        self._enqueuer = enqueuer
        self._ids = ids
        self._random = random
        self._bounds = bounds

    # --- reading ------------------------------------------------------------------------------------------------

    async def get(self, name: str) -> ScheduleView:
        """One with its next five and its last twenty. Raises ``NotFound``."""
        return await self._view(await self._find(name))

    async def list(self, after: str | None = None, limit: int = 100) -> builtins.list[ScheduleView]:
        """Schedules after a name, in the order of names, without their occurrences."""
        now = await self._store.now()
        return [_view(schedule, now) for schedule in await self._store.schedules.list(after, limit)]

    # --- writing ------------------------------------------------------------------------------------------------

    async def create(self, request: ScheduleRequest) -> ScheduleView:
        """Make one. Raises ``Invalid``, ``Conflict`` when the name is taken."""
        spec = validate_schedule(request, self._bounds)
        await self._will_fire(spec)
        return await self._view(await self._put(self._new(spec, request.note), 0))

    async def update(self, name: str, patch: dict[str, msgspec.Raw]) -> ScheduleView:
        """Change the given fields (see ``parse_patch``). Raises ``NotFound``, ``Invalid``, ``Conflict``."""
        for _ in range(_TRIES):
            old = await self._find(name)
            request = patched(read_spec(old), old.note, patch)
            spec = validate_schedule(request, self._bounds)
            await self._will_fire(spec)
            new = msgspec.structs.replace(
                old, spec=msgspec.json.encode(spec), paused=spec.paused, note=request.note
            )
            try:
                return await self._view(await self._put(new, old.version))
            except Conflict:
                continue  # somebody else changed it meanwhile: apply the change to what it is now
        raise Conflict(f"the schedule {name!r} is changed by others all the time; try again")

    async def pause(self, name: str, note: str | None = None) -> ScheduleView:
        """No more occurrences until it is resumed; the waiting one is withdrawn. Raises ``NotFound``, ``Invalid``."""
        if problem := note_problem(note):
            raise Invalid.one("note", problem)
        return await self._set_paused(name, True, note)

    async def resume(self, name: str) -> ScheduleView:
        """Go on with the next fire time; what was missed while paused stays missed. Raises ``NotFound``."""
        return await self._set_paused(name, False, None)

    async def delete(self, name: str) -> None:
        """Delete it and withdraw its waiting occurrence. Raises ``NotFound``."""
        if not await self._store.schedules.delete(name):
            raise NotFound(f"there is no schedule {name!r}")

    async def trigger(self, name: str) -> Inserted:
        """Run its job once, now, whatever the rule says and also while it is paused. Raises ``NotFound``."""
        schedule = await self._find(name)
        (inserted,) = await self._enqueuer.insert([job_of(read_spec(schedule), schedule.id, self._ids.new())])
        return inserted

    async def from_job(self, request: JobRequest, job: NewJob) -> tuple[Job, str]:
        """Make the schedule that a job with ``cron`` asks for: (its next occurrence, how as of ``Inserted``).

        ``job`` is the request, validated. Its start (``delay``, ``run_at``) bounds the first occurrence and its
        ``expires_at`` the last one. An idempotency key stands for the schedule as it was asked for, whatever became of
        it since. ``unique`` is said of the rule and not of its occurrences: unless it has a name, the schedule is named
        by what must be unique, and stands for all alike until it is deleted. One for which nothing is waiting any more,
        paused or over, answers with the newest of its jobs. Raises ``Invalid``, ``Conflict``.
        """
        start_at = job.run_at
        if job.delay:
            start_at = await self._store.now() + job.delay
        asked = ScheduleRequest(
            name=request.schedule or _name_for(request, job),
            cron=request.cron,
            timezone=request.timezone,
            **{name: getattr(request, name) for name in JOB_FIELDS},
        )
        try:
            spec = validate_schedule(asked, self._bounds)
        except Invalid as refused:
            raise Invalid(
                [FieldError("schedule", e.message) if e.field == "name" else e for e in refused.errors]
            ) from None
        spec = msgspec.structs.replace(spec, start_at=start_at, end_at=job.expires_at)
        await self._will_fire(spec)
        wanted, how = self._new(spec, None), "created"
        try:
            schedule = await self._put(wanted, 0, job)
            if schedule.id != wanted.id:
                how = "replayed"
        except KeyTaken:
            raise
        except Conflict:
            schedule = await self._find(spec.name)
            if job.unique is not None and request.schedule is None:
                how = "duplicate"
            else:
                how = "replayed"
                _check_alike(schedule, spec, request)
        return await self._occurrence(schedule), how

    async def reconcile(self, declared: Sequence[ScheduleRequest], types: Collection[str] = ()) -> None:
        """Make the stored schedules those that code declares; any number of workers may do it at once.

        A person's pause of one stays. Those that were declared once and are no longer are deleted when their job type
        is one of ``types``, the application's own: several applications may share a store. Raises ``Invalid``.
        """
        specs = [(validate_schedule(request, self._bounds), request.note) for request in declared]
        for spec, note in specs:
            await self._declare(spec, note)
        names = {spec.name for spec, _ in specs}
        after: str | None = None
        while page := await self._store.schedules.list(after, 500):
            after = page[-1].name
            for schedule in page:
                gone = schedule.declared and schedule.name not in names
                if gone and _type_of(schedule) in types:
                    await self._store.schedules.delete(schedule.name)

    # --- inside -------------------------------------------------------------------------------------------------

    async def _declare(self, spec: ScheduleSpec, note: str | None) -> None:
        for _ in range(_TRIES):
            old = await self._store.schedules.get(spec.name)
            if old is None:
                new, version = self._new(spec, note), 0
                new.declared = True
            else:
                # Paused or resumed since by a person: what the code says is only how it began. What Flux itself has
                # paused because it could not read it goes on, since now it can.
                parked = old.paused and _is_parked(old.note)
                wanted = msgspec.structs.replace(spec, paused=spec.paused if parked else old.paused)
                if old.declared and not parked and _says(old, wanted):
                    return
                version = old.version
                new = msgspec.structs.replace(
                    old,
                    spec=msgspec.json.encode(wanted),
                    paused=wanted.paused,
                    note=_unparked(old.note),
                    declared=True,
                )
            try:
                await self._put(new, version)
                return
            except Conflict:
                continue  # another worker was first: look again, most likely there is nothing left to do
        raise Conflict(f"the schedule {spec.name!r} is changed by others all the time")

    async def _set_paused(self, name: str, paused: bool, note: str | None) -> ScheduleView:
        for _ in range(_TRIES):
            old = await self._find(name)
            if old.paused == paused and (note is None or note == old.note):
                return await self._view(old)
            # The row says whether it is paused, so the rule stays as it is: even one that cannot be read is paused.
            if not paused:
                read_spec(old)  # refused now rather than parked later
            kept = old.note if paused else _unparked(old.note)
            new = msgspec.structs.replace(old, paused=paused, note=kept if note is None else note)
            try:
                return await self._view(await self._put(new, old.version))
            except Conflict:
                continue
        raise Conflict(f"the schedule {name!r} is changed by others all the time; try again")

    async def _put(self, schedule: Schedule, expect: int, asked: NewJob | None = None) -> Schedule:
        """Store it with the occurrence it waits for. ``asked`` is the job with ``cron`` that asks for it: its
        idempotency key may answer with another schedule, and its first occurrence shows its keys."""
        pending = first_occurrence(schedule, await self._store.now(), self._ids, self._random)
        key = None if asked is None else asked.idempotency
        if asked is not None and pending is not None:
            shown = {name: getattr(asked.options, name) for name in ("idempotency_key", "unique")}
            pending.options = msgspec.structs.replace(pending.options, **shown)
        stored = await self._store.schedules.put(schedule, pending, expect, key)
        if pending is None or stored.next_job_id is not None or stored.id != schedule.id:
            return stored
        # The fire time came between our look at the clock and the commit, and was taken up; or the clock was set back
        # and many were. Wait for the next that is free. Should that be taken meanwhile, promotion goes on from it.
        assert pending.options.fire_at is not None
        spec = read_spec(schedule)
        held = {fire_at for fire_at, _, _ in await self._store.schedules.occurrences(stored.id, _HELD)}
        free = spec.next_after(pending.options.fire_at)
        while free is not None and free in held:
            free = spec.next_after(free)
        pending = None if free is None else occurrence_of(spec, stored.id, free, self._ids, self._random)
        return await self._store.schedules.put(stored, pending, stored.version)

    async def _occurrence(self, schedule: Schedule) -> Job:
        """The job to answer with: the one that waits, else the newest that there is, else what is known of the newest
        that there was."""
        if schedule.next_job_id is not None:
            job = await self._store.queries.get(schedule.next_job_id)
            if job is not None:
                return job
        page = await self._store.queries.list(JobFilter(schedule_id=schedule.id), 1, None, True)
        if page.jobs:
            return page.jobs[0]
        forgotten = schedule.forgotten
        if forgotten is None and (again := await self._store.schedules.get(schedule.name)) is not None:
            forgotten = again.forgotten  # the last one was forgotten since we read the schedule
        if forgotten is not None:
            return as_job(job_of(read_spec(schedule), schedule.id, forgotten.id), forgotten)
        paused = " and paused" if schedule.paused else ""
        raise Conflict(f"the schedule {schedule.name!r} is there already{paused}, and has never made a job")

    def _new(self, spec: ScheduleSpec, note: str | None) -> Schedule:
        return Schedule(
            id=self._ids.new(),
            name=spec.name,
            spec=msgspec.json.encode(spec),
            paused=spec.paused,
            note=note,
        )

    async def _find(self, name: str) -> Schedule:
        schedule = await self._store.schedules.get(name)
        if schedule is None:
            raise NotFound(f"there is no schedule {name!r}")
        return schedule

    async def _will_fire(self, spec: ScheduleSpec) -> None:
        """Refuse what can never fire again. Declared ones are not asked: code may outlive its end date."""
        if not spec.paused and spec.next_after(await self._store.now()) is None:
            field = "at" if "at" in written(spec, None) else "end_at"
            raise Invalid.one(field, "lies in the past or before the first fire time: it would never fire")

    async def _view(self, schedule: Schedule) -> ScheduleView:
        now = await self._store.now()
        # One more, since the newest is as a rule the one that waits.
        occurrences = await self._store.schedules.occurrences(schedule.id, LATEST + 1)
        latest = [one for one in occurrences if one[1] != schedule.next_job_id][:LATEST]
        return msgspec.structs.replace(_view(schedule, now), latest=latest)


def _view(schedule: Schedule, now: int) -> ScheduleView:
    try:
        spec = read_spec(schedule)
    except Conflict as error:
        # One that cannot be read must not hide the others; people see which one it is, and why.
        stand_in = ScheduleSpec(name=schedule.name, rule=Once(0), job={"type": "?"}, paused=schedule.paused)
        return ScheduleView(schedule=schedule, spec=stand_in, rule=str(error), upcoming=[], readable=False)
    return ScheduleView(
        schedule=schedule, spec=spec, rule=spec.rule.describe(), upcoming=spec.upcoming(now, UPCOMING)
    )


def _says(schedule: Schedule, wanted: ScheduleSpec) -> bool:
    try:
        return read_spec(schedule) == wanted
    except Conflict:
        return False


def _type_of(schedule: Schedule) -> str | None:
    """The type of its jobs; None when it cannot be read: then it may be anybody's."""
    try:
        return read_spec(schedule).job.get("type")
    except Conflict:
        return None


def _is_parked(note: str | None) -> bool:
    return note is not None and note.startswith(PARKED)


def _unparked(note: str | None) -> str | None:
    """A note without what Flux wrote on its first line."""
    return note.partition("\n")[2] or None if note is not None and _is_parked(note) else note


def _check_alike(schedule: Schedule, spec: ScheduleSpec, request: JobRequest) -> None:
    """Raise ``Conflict`` unless a schedule is what is asked for, but for a pause."""
    there = read_spec(schedule)
    if request.delay is not None:  # counted from each request's own time
        there = msgspec.structs.replace(there, start_at=spec.start_at)
    if msgspec.structs.replace(there, paused=False) != spec:
        raise Conflict(f"the schedule {spec.name!r} already stands for another request") from None


def _name_for(request: JobRequest, job: NewJob) -> str:
    """A name that says the type and is nobody else's: by what must be unique, else by the job's id. Short enough to be
    read and typed; should two ever be alike, the later request is refused."""
    says, own = request.type.replace("/", "-")[:60], job.id
    if job.unique is not None:
        own = job.unique.key
        if request.unique is not None and "type" not in request.unique.by:
            says = "unique"  # whatever the type
    return f"{says}.{blake2b(own.encode(), digest_size=6).hexdigest()}"
