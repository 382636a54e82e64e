-- The core: live and done, and the small tables beside them. Times are microseconds, documents are JSON bytes, and what
-- is compared is compared as bytes (COLLATE "C"): the order of Python, and much faster than a language's.

-- The store's clock, as it moves within a transaction too.
CREATE FUNCTION flux.clock() RETURNS bigint LANGUAGE sql VOLATILE PARALLEL SAFE
AS $$ SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint $$;

-- The bucket of a duration (flux.domain.stats): exponent and the two leading bits of the mantissa, as a double has them.
CREATE FUNCTION flux.bucket(us bigint) RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT CASE WHEN us < 4 THEN greatest(us, 0)::integer
                  ELSE ((get_byte(float8send(us::float8), 0) << 8 | get_byte(float8send(us::float8), 1)) >> 2) - 4096
             END $$;

-- Whether the value at a path, as JSON or as a bare text, is this one. False for what JSON's functions cannot read (a NUL
-- in a string): one such document must not break a search through all.
CREATE FUNCTION flux.json_has(document bytea, path text[], value text) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE parsed json;
BEGIN
    parsed := convert_from(document, 'UTF8')::json;
    RETURN (parsed #> path)::text = value OR parsed #>> path = value;
EXCEPTION WHEN OTHERS THEN RETURN false;
END $$;

CREATE FUNCTION flux.has_tag(options bytea, tag text) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    RETURN EXISTS (SELECT 1 FROM json_array_elements_text(convert_from(options, 'UTF8')::json -> 'tags') AS t (one)
                    WHERE t.one = tag);
EXCEPTION WHEN OTHERS THEN RETURN false;
END $$;

CREATE FUNCTION flux.error_has(error bytea, wanted text) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE parsed json;
BEGIN
    parsed := convert_from(error, 'UTF8')::json;
    RETURN parsed ->> 'kind' = wanted OR position(lower(wanted) IN lower(parsed ->> 'message')) > 0;
EXCEPTION WHEN OTHERS THEN RETURN false;
END $$;

-- Small and busy: every job is written here twice and deleted once, so it is vacuumed early and without pauses.
CREATE TABLE flux.live (
    run_at           bigint   NOT NULL,
    created_at       bigint   NOT NULL,
    timeout          bigint,
    expires_at       bigint,
    claim_id         bigint,
    started_at       bigint,
    deadline         bigint,
    fire_at          bigint,
    attempt          integer  NOT NULL DEFAULT 0,
    attempt_limit    integer  NOT NULL,
    max_retries      integer  NOT NULL,
    priority         smallint NOT NULL,
    cancel_requested boolean  NOT NULL DEFAULT false,
    id               uuid     NOT NULL,
    namespace        text COLLATE "C" NOT NULL,
    state            text COLLATE "C" NOT NULL,
    type             text COLLATE "C" NOT NULL,
    queue            text COLLATE "C" NOT NULL,
    payload          bytea    NOT NULL,
    options          bytea,
    error            bytea,
    worker_id        text COLLATE "C",
    schedule_id      text COLLATE "C",
    workflow_id      text COLLATE "C",
    unique_key       text COLLATE "C",
    idempotency_key  text COLLATE "C",
    cancel_reason    text,
    PRIMARY KEY (namespace, id)
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000,
        autovacuum_analyze_scale_factor = 0.1, autovacuum_analyze_threshold = 2000,
        autovacuum_vacuum_cost_delay = 0, autovacuum_vacuum_insert_scale_factor = 0.2);

-- Claims: lanes are found by jumping, each gives its oldest first. Also what brokers are offered, and queues' depth.
CREATE INDEX live_available ON flux.live (namespace, queue, priority, type, id) WHERE state = 'available';
-- What is due, oldest first, and when the next is.
CREATE INDEX live_due ON flux.live (namespace, run_at, id) WHERE state IN ('scheduled', 'retrying');
-- What a worker holds: its claims, the rescue of what it lost, how much runs.
CREATE INDEX live_running ON flux.live (namespace, worker_id, id) WHERE state = 'running';
-- When the next deadline is, so that the leader looks again then.
CREATE INDEX live_deadline ON flux.live (namespace, deadline) WHERE state = 'running' AND deadline IS NOT NULL;
-- The cancels that a heartbeat brings its worker: nearly always empty, so that asking costs nothing.
CREATE INDEX live_cancels ON flux.live (namespace, worker_id) WHERE state = 'running' AND cancel_requested;
-- What is to be cancelled when it has not started in time.
CREATE INDEX live_expiring ON flux.live (namespace, expires_at) WHERE expires_at IS NOT NULL AND attempt = 0;
-- The occurrences of a schedule: those still under way, and its page's list.
CREATE INDEX live_schedule ON flux.live (namespace, schedule_id, id) WHERE schedule_id IS NOT NULL;
-- The list of a workflow's jobs, newest first.
CREATE INDEX live_workflow ON flux.live (namespace, workflow_id, id) WHERE workflow_id IS NOT NULL;

-- Append-only, a partition a day (flux.stores.postgres.partitions). The key of a partitioned table must have its
-- partitions' column, so that an id is there once is the inserts' business.
CREATE TABLE flux.done (
    finished_at      bigint   NOT NULL,
    run_at           bigint   NOT NULL,
    created_at       bigint   NOT NULL,
    timeout          bigint,
    expires_at       bigint,
    claim_id         bigint,
    started_at       bigint,
    fire_at          bigint,
    attempt          integer  NOT NULL,
    attempt_limit    integer  NOT NULL,
    max_retries      integer  NOT NULL,
    priority         smallint NOT NULL,
    id               uuid     NOT NULL,
    namespace        text COLLATE "C" NOT NULL,
    state            text COLLATE "C" NOT NULL,
    type             text COLLATE "C" NOT NULL,
    queue            text COLLATE "C" NOT NULL,
    payload          bytea    NOT NULL,
    options          bytea,
    error            bytea,
    result           bytea,
    how              text COLLATE "C",
    worker_id        text COLLATE "C",
    schedule_id      text COLLATE "C",
    workflow_id      text COLLATE "C",
    unique_key       text COLLATE "C",
    idempotency_key  text COLLATE "C"
) PARTITION BY RANGE (finished_at);
CREATE TABLE flux.done_default PARTITION OF flux.done DEFAULT;

-- A job by its id; also the walk through all, newest first (ids are in the order of time).
CREATE INDEX done_id ON flux.done (namespace, id);
-- The lists by state, newest first: dead letters above all.
CREATE INDEX done_state ON flux.done (namespace, state, id);
-- The list of a queue, newest first.
CREATE INDEX done_queue ON flux.done (namespace, queue, id);
-- The list of a type, newest first.
CREATE INDEX done_type ON flux.done (namespace, type, id);
-- What is past retention in partitions that are kept, oldest first of each state.
CREATE INDEX done_finished ON flux.done (namespace, state, finished_at);
-- The list of a schedule's occurrences, newest first.
CREATE INDEX done_schedule ON flux.done (namespace, schedule_id, id) WHERE schedule_id IS NOT NULL;
-- The list of a workflow's jobs, newest first.
CREATE INDEX done_workflow ON flux.done (namespace, workflow_id, id) WHERE workflow_id IS NOT NULL;

-- The state of a job as of now, and not as of the start of the statement that asks (a volatile function looks for itself):
-- what a caller's own transaction has committed meanwhile counts.
CREATE FUNCTION flux.state_of(space text, job uuid) RETURNS text LANGUAGE sql VOLATILE
AS $$ SELECT coalesce((SELECT l.state FROM flux.live l WHERE l.namespace = space AND l.id = job),
                      (SELECT d.state FROM flux.done d WHERE d.namespace = space AND d.id = job LIMIT 1)) $$;

-- expires_at NULL: held as long as the job is kept. The last three answer a replay once the job itself is forgotten.
-- The key of a schedule has the schedule's id in place of a job's: it goes with the schedule.
CREATE TABLE flux.idempotency (
    namespace   text COLLATE "C" NOT NULL,
    key         text COLLATE "C" NOT NULL,
    fingerprint text     NOT NULL,
    job_id      uuid     NOT NULL,
    expires_at  bigint,
    state       text COLLATE "C",
    created_at  bigint,
    run_at      bigint,
    PRIMARY KEY (namespace, key)
);
-- The keys of jobs that are forgotten, and of schedules that are deleted.
CREATE INDEX idempotency_job ON flux.idempotency (namespace, job_id);
-- Keys whose time is over, for the pruner.
CREATE INDEX idempotency_expiry ON flux.idempotency (namespace, expires_at) WHERE expires_at IS NOT NULL;

-- A row stands only while its job is in one of its states; it is not taken away by the job's end, which therefore costs
-- nothing, but replaced by the next job with the key. The last three stand for a job that is forgotten before the key's
-- time is over.
CREATE TABLE flux.uniqueness (
    namespace  text COLLATE "C" NOT NULL,
    key        text COLLATE "C" NOT NULL,
    job_id     uuid     NOT NULL,
    states     text[] COLLATE "C" NOT NULL,
    expires_at bigint,
    state      text COLLATE "C",
    created_at bigint,
    run_at     bigint,
    PRIMARY KEY (namespace, key)
);
-- Keys whose time is over, for the pruner.
CREATE INDEX uniqueness_expiry ON flux.uniqueness (namespace, expires_at) WHERE expires_at IS NOT NULL;

-- A row only for an attempt that did not end its job; the last attempt is on the job itself.
CREATE TABLE flux.attempts (
    namespace   text COLLATE "C" NOT NULL,
    job_id      uuid     NOT NULL,
    sequence    bigint   NOT NULL GENERATED ALWAYS AS IDENTITY,
    number      integer  NOT NULL,
    worker_id   text COLLATE "C",
    started_at  bigint,
    finished_at bigint   NOT NULL,
    outcome     text COLLATE "C" NOT NULL,
    error       bytea,
    PRIMARY KEY (namespace, job_id, sequence)
);

-- What a handler last reported and last saved, as JSON; a row only for jobs that did either.
CREATE TABLE flux.progress (
    namespace  text COLLATE "C" NOT NULL,
    job_id     uuid     NOT NULL,
    progress   bytea,
    checkpoint bytea,
    PRIMARY KEY (namespace, job_id)
);

-- The lines that handlers log, by attempt.
CREATE TABLE flux.logs (
    namespace text COLLATE "C" NOT NULL,
    job_id    uuid     NOT NULL,
    sequence  bigint   NOT NULL GENERATED ALWAYS AS IDENTITY,
    attempt   integer  NOT NULL,
    at        bigint   NOT NULL,
    level     text     NOT NULL,
    text      text     NOT NULL,
    PRIMARY KEY (namespace, job_id, sequence)
);

-- Who is alive until when: a worker claims under a lease that holds, and loses what it runs when that lapses.
CREATE TABLE flux.workers (
    namespace   text COLLATE "C" NOT NULL,
    id          text COLLATE "C" NOT NULL,
    host        text     NOT NULL,
    pid         integer  NOT NULL,
    version     text     NOT NULL,
    queues      text     NOT NULL,
    types       text[] COLLATE "C" NOT NULL,
    slots       integer  NOT NULL,
    busy        integer  NOT NULL DEFAULT 0,
    started_at  bigint   NOT NULL,
    seen_at     bigint   NOT NULL,
    lease_until bigint   NOT NULL,
    drain       boolean  NOT NULL DEFAULT false,
    PRIMARY KEY (namespace, id)
) WITH (fillfactor = 50);

-- The scheduler that leads. Every write of a leader is under its epoch.
CREATE TABLE flux.leader (
    namespace   text COLLATE "C" NOT NULL PRIMARY KEY,
    holder      text,
    epoch       bigint   NOT NULL,
    lease_until bigint   NOT NULL
) WITH (fillfactor = 10);

-- The queues that were ever used, and what people set about them.
CREATE TABLE flux.queues (
    namespace text COLLATE "C" NOT NULL,
    name      text COLLATE "C" NOT NULL,
    paused    boolean  NOT NULL DEFAULT false,
    paused_at bigint,
    paused_by text,
    max_depth bigint,
    PRIMARY KEY (namespace, name)
);

-- slot is the second of the sample (µs); of older samples only some are kept.
CREATE TABLE flux.depths (
    namespace text COLLATE "C" NOT NULL,
    slot      bigint   NOT NULL,
    queue     text COLLATE "C" NOT NULL,
    state     text COLLATE "C" NOT NULL,
    depth     bigint   NOT NULL,
    oldest    bigint,
    PRIMARY KEY (namespace, slot, queue, state)
);

-- slot is the start of ten seconds (µs); the buckets are those of flux.domain.stats. Rows are added and never counted up:
-- two workers that end jobs at once would wait for each other's commits. The pruner adds old ones up.
CREATE TABLE flux.rollups (
    slot        bigint   NOT NULL,
    count       bigint   NOT NULL,
    wait_bucket smallint NOT NULL,
    run_bucket  smallint NOT NULL,
    namespace   text COLLATE "C" NOT NULL,
    queue       text COLLATE "C" NOT NULL,
    type        text COLLATE "C" NOT NULL,
    outcome     text COLLATE "C" NOT NULL,
    kind        text COLLATE "C" NOT NULL
);
-- The counts of a time: to show, to add up, to forget.
CREATE INDEX rollups_slot ON flux.rollups (namespace, slot);

-- The rules, and the occurrence that waits for each; spec is the rule itself, as JSON.
CREATE TABLE flux.schedules (
    namespace    text COLLATE "C" NOT NULL,
    name         text COLLATE "C" NOT NULL,
    id           text COLLATE "C" NOT NULL,
    spec         bytea    NOT NULL,
    jitter       bigint   NOT NULL,
    paused       boolean  NOT NULL,
    declared     boolean  NOT NULL,
    version      integer  NOT NULL,
    created_at   bigint   NOT NULL,
    updated_at   bigint   NOT NULL,
    next_job_id  uuid,
    next_fire_at bigint,
    last_fire_at bigint,
    note         text,
    PRIMARY KEY (namespace, name)
);
-- A schedule by its id, which is what its jobs know of it.
CREATE UNIQUE INDEX schedules_id ON flux.schedules (namespace, id);

-- What makes an occurrence happen once, however many schedulers there are.
CREATE TABLE flux.occurrences (
    namespace   text COLLATE "C" NOT NULL,
    schedule_id text COLLATE "C" NOT NULL,
    fire_at     bigint   NOT NULL,
    job_id      uuid     NOT NULL,
    PRIMARY KEY (namespace, schedule_id, fire_at)
);

-- Workflows come later; their place is kept.
CREATE TABLE flux.steps (
    namespace   text COLLATE "C" NOT NULL,
    workflow_id text COLLATE "C" NOT NULL,
    name        text COLLATE "C" NOT NULL,
    state       text COLLATE "C" NOT NULL,
    needs_left  integer  NOT NULL,
    job_id      uuid,
    spec        bytea,
    PRIMARY KEY (namespace, workflow_id, name)
);

-- Numbers the batches of events.
CREATE SEQUENCE flux.event_order;
-- A batch's number is its transaction's and then a running one: readers stop before the oldest transaction that is still
-- under way, so that a late commit is never passed by.
CREATE FUNCTION flux.event_batch() RETURNS bigint LANGUAGE sql VOLATILE
AS $$ SELECT (pg_current_xact_id()::text::bigint << 20) | (nextval('flux.event_order') & 1048575) $$;
-- What lies before it can have nothing put before it any more.
CREATE FUNCTION flux.settled_batch() RETURNS bigint LANGUAGE sql STABLE
AS $$ SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint << 20 $$;

-- One row per batch of changes of one kind, not per job: an event costs the hot path next to nothing. What other subjects
-- than jobs are named by is in key.
CREATE TABLE flux.events (
    batch     bigint   NOT NULL DEFAULT flux.event_batch(),
    at        bigint   NOT NULL,
    namespace text COLLATE "C" NOT NULL,
    subject   text COLLATE "C" NOT NULL,
    state     text COLLATE "C" NOT NULL,
    type      text COLLATE "C",
    queue     text COLLATE "C",
    key       text,
    ids       uuid[],
    PRIMARY KEY (namespace, batch)
) WITH (autovacuum_vacuum_scale_factor = 0.05);
-- Random bits do not compress: trying to costs more than the rest of the row.
ALTER TABLE flux.events ALTER COLUMN ids SET STORAGE EXTERNAL;
