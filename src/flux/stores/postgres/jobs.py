"""The Jobs port: the hot verbs and people's verbs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from flux.domain.errors import DataRefused, FluxError, Unavailable
from flux.domain.ids import new_claim_id
from flux.domain.job import ClaimedJob, Inserted, JobState, LogLine, NewJob, Outcome
from flux.engine.ports import Change, Changed, Demand, Held, Here, Note, Topic
from flux.stores.postgres import editing
from flux.stores.postgres.claiming import SQL as CLAIM
from flux.stores.postgres.claiming import plan_claim, read_claim
from flux.stores.postgres.clock import clock
from flux.stores.postgres.database import Database
from flux.stores.postgres.ending import SQL as FINISH
from flux.stores.postgres.ending import end_succeeded, keep_logs, settle_outcomes, standing
from flux.stores.postgres.foreign.joining import Joiner
from flux.stores.postgres.inserting import COPY_FROM, Inserter, created, is_plain, plain_values
from flux.stores.postgres.inserting import SQL as INSERT
from flux.stores.postgres.session import Session
from flux.stores.postgres.sql import is_uuid
from flux.stores.standing import runs_under

_Answers = list[list[Inserted] | FluxError]


class PostgresJobs:
    """Jobs in PostgreSQL.

    When the connection is lost at a commit the answer is ``Unavailable`` and nobody knows what was kept; each verb
    may be repeated. A *claim* that was kept is found by ``held``. A *finish* that was kept answers None the next
    time, since the fence is gone with the row. An *insert* that was kept is answered as it was
    then, since its ids are ours, and with an idempotency key as replayed. The others name the state they leave.
    """

    def __init__(self, database: Database, random: Random | None = None) -> None:
        """``random`` makes the fences of claims."""
        self._database = database
        self._namespace = database.namespace
        self._random = random or Random()
        self._queues: set[str] = set()
        self._joiner = Joiner(database)

    # --- enqueue ----------------------------------------------------------------------------------------------

    async def insert(self, batches: Sequence[Sequence[NewJob]]) -> _Answers:
        """See the port. Queues exist from their first job on.

        What is refused for a row's data is halved until that row's batch stands alone, each half in its own commit.
        """
        named = {job.queue for batch in batches for job in batch}
        if not named:
            return [[] for _ in batches]
        try:
            answers = await self._insert(batches, sorted(named - self._queues))
        except DataRefused as error:
            if len(batches) == 1:
                return [await self._once_more(batches[0], error)]
            half = len(batches) // 2
            answers = await self.insert(batches[:half])
            try:
                return answers + await self.insert(batches[half:])
            except Unavailable as away:
                return answers + [Unavailable(str(away)) for _ in batches[half:]]
        self._queues |= named
        return answers

    async def _once_more(self, batch: Sequence[NewJob], error: DataRefused) -> list[Inserted] | FluxError:
        """What is stored already: its insert was committed and its answer lost, so that it gets the answer now."""
        rows = await self._database.statement(
            INSERT["find_stored"], namespace=self._namespace, ids=[job.id for job in batch]
        )
        known = {str(id): rest for id, *rest in rows}
        stored: dict[str, Inserted] = {}
        for job in batch:
            if job.id in known:
                type, payload, state, created_at, run_at = known[job.id]
                if (type, payload) != (job.type, job.payload):
                    return DataRefused(
                        f"The database refused a row: there is another job with the id {job.id}."
                    )
                stored[job.id] = Inserted(job.id, JobState(state), created_at, run_at)
        left = [job for job in batch if job.id not in stored]
        if not stored:
            return error
        if left:
            [answer] = await self.insert([left])
            if not isinstance(answer, list):
                return answer
            stored |= {job.id: one for job, one in zip(left, answer, strict=True)}
        return [stored[job.id] for job in batch]

    async def _insert(self, batches: Sequence[Sequence[NewJob]], unseen: list[str]) -> _Answers:
        jobs = [job for batch in batches for job in batch]
        if len(jobs) < COPY_FROM and all(is_plain(job) for job in jobs):
            rows = await self._database.hot_statement(
                INSERT["insert_plain"],
                namespace=self._namespace,
                now=self._database.now(),
                unseen=unseen,
                **plain_values(jobs),
            )
            if rows:
                now = rows[0][0]
                answers: _Answers = [[created(job, now) for job in batch] for batch in batches]
                ready = all(job.run_at is None and not job.delay for job in jobs)
                self._database.told(Topic.AVAILABLE if ready else Topic.AVAILABLE | Topic.DUE)
                return answers

        async def work(session: Session) -> _Answers:
            inserter = Inserter(session, self._namespace, await clock(session, self._database))
            answers = await inserter.store(batches)
            await inserter.name_queues(unseen)
            await inserter.events.write(session)
            return answers

        return await self._database.hot(work)

    async def insert_within(
        self,
        connection: object,
        jobs: Sequence[NewJob],
        ended: Callable[[list[Inserted]], None],
        here: Here | None = None,
    ) -> list[Inserted]:
        """See the port. A queue is named before and apart: others would wait for the caller's commit to name it too."""
        named = {job.queue for job in jobs}
        joined = await self._joiner.join(connection, here)
        if unseen := sorted(named - self._queues):
            await self._database.calm(
                lambda session: session.run(INSERT["insert_queues"], namespace=self._namespace, names=unseen)
            )
            self._queues |= named
        return await self._joiner.insert(joined, jobs, ended, here)

    # --- attempts ---------------------------------------------------------------------------------------------

    async def claim(self, demand: Demand) -> list[ClaimedJob]:
        """See the port."""
        claim_id = new_claim_id(self._random)
        statement, values = plan_claim(self._namespace, self._database.now(), demand, claim_id)
        jobs = read_claim(await self._database.hot_statement(statement, **values), demand, claim_id)
        if jobs:
            self._database.told(Topic.REST)
        return jobs

    async def held(self, worker_id: str) -> list[Held]:
        """See the port."""
        rows = await self._database.statement(CLAIM["held"], namespace=self._namespace, worker_id=worker_id)
        return [Held(str(id), claim_id, attempt) for id, claim_id, attempt in rows]

    async def finish(self, worker_id: str, outcomes: Sequence[Outcome]) -> list[JobState | None]:
        """See the port."""
        ids = {outcome.job_id for outcome in outcomes}
        if not ids:
            return []
        plain = all(outcome.state is JobState.SUCCEEDED and not outcome.logs for outcome in outcomes)
        if plain and len(ids) == len(outcomes):
            return await self._finish_succeeded(outcomes)
        return await self._finish_any(outcomes)

    async def _finish_any(self, outcomes: Sequence[Outcome]) -> list[JobState | None]:
        return await self._database.hot(lambda session: settle_outcomes(session, self._database, outcomes))

    async def _finish_succeeded(self, outcomes: Sequence[Outcome]) -> list[JobState | None]:
        ordered = sorted(outcomes, key=lambda outcome: outcome.job_id)
        ids = [outcome.job_id for outcome in ordered]
        claims = [outcome.claim_id for outcome in ordered]
        results = [outcome.result for outcome in ordered]
        if any(outcome.in_workflow for outcome in outcomes):
            ours: Sequence[object] = await self._database.hot(
                lambda session: end_succeeded(session, self._database, ids, claims, results)
            )
            known = set(ours)
            return [JobState.SUCCEEDED if outcome.job_id in known else None for outcome in outcomes]
        [row] = await self._database.hot_statement(
            FINISH["finish_succeeded"],
            namespace=self._namespace,
            now=self._database.now(),
            ids=ids,
            claims=claims,
            results=results,
            steps=False,
        )
        ours = row[0]
        if ours:
            self._database.told(Topic.ENDED)
        if len(ours) == len(outcomes):
            return [JobState.SUCCEEDED] * len(outcomes)
        answers = {str(id): JobState.SUCCEEDED for id in ours}
        # Too late, or jobs of workflows of which the outcome did not say so.
        left = [outcome for outcome in outcomes if outcome.job_id not in answers]
        others = await self._finish_any(left)
        answers |= {one.job_id: state for one, state in zip(left, others, strict=True) if state is not None}
        return [answers.get(outcome.job_id) for outcome in outcomes]

    async def note(self, notes: Sequence[Note]) -> None:
        """See the port."""

        async def work(session: Session) -> None:
            running = await standing(session, self._namespace, {note.job_id for note in notes})
            ours: dict[str, Note] = {}
            logs: list[tuple[str, int, Sequence[LogLine]]] = []
            for note in notes:
                job = running.get(note.job_id)
                if job is None or not runs_under(job, note.claim_id):
                    continue
                if note.logs:
                    logs.append((note.job_id, note.attempt, note.logs))
                if note.heard or note.progress is not None or note.checkpoint is not None:
                    earlier = ours.get(note.job_id)
                    if earlier is not None:  # a row is written once in a statement
                        note = Note(
                            job_id=note.job_id,
                            claim_id=note.claim_id,
                            attempt=note.attempt,
                            progress=earlier.progress if note.progress is None else note.progress,
                            checkpoint=earlier.checkpoint if note.checkpoint is None else note.checkpoint,
                        )
                    ours[note.job_id] = note
            if ours:
                await session.run(
                    FINISH["keep_progress"],
                    namespace=self._namespace,
                    now=self._database.now(),
                    ids=list(ours),
                    progress=[note.progress for note in ours.values()],
                    checkpoints=[note.checkpoint for note in ours.values()],
                )
            await keep_logs(session, self._namespace, logs)

        await self._database.hot(work)

    # --- people's verbs ---------------------------------------------------------------------------------------

    async def cancel(self, ids: Sequence[str], reason: str | None) -> list[Changed]:
        """See the port."""
        known = [id for id in ids if is_uuid(id)]

        async def work(session: Session) -> list[Changed]:
            return await editing.cancel(session, self._database, known, ids, reason)

        return await self._database.calm(work) if ids else []

    async def retry(self, ids: Sequence[str]) -> list[Changed]:
        """See the port."""
        known = [id for id in ids if is_uuid(id)]

        async def work(session: Session) -> list[Changed]:
            return await editing.retry(session, self._database, known, ids)

        return await self._database.calm(work) if ids else []

    async def change(self, job_id: str, change: Change) -> Changed:
        """See the port."""
        if not is_uuid(job_id):
            return editing.MISSING
        return await self._database.calm(
            lambda session: editing.change(session, self._database, job_id, change)
        )
