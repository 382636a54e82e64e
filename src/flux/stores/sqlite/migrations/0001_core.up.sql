-- The core: live and done, and the small tables beside them. Times are microseconds, documents are JSON text.
-- Rows are WITHOUT ROWID where their key is how they are found, so that a job is one b-tree entry.

CREATE TABLE live (
    namespace        TEXT    NOT NULL,
    id               TEXT    NOT NULL,
    type             TEXT    NOT NULL,
    queue            TEXT    NOT NULL,
    priority         INTEGER NOT NULL,
    state            TEXT    NOT NULL,
    run_at           INTEGER NOT NULL,
    created_at       INTEGER NOT NULL,
    attempt          INTEGER NOT NULL DEFAULT 0,
    attempt_limit    INTEGER NOT NULL,
    max_retries      INTEGER NOT NULL,
    timeout          INTEGER,
    expires_at       INTEGER,
    payload          TEXT    NOT NULL,
    options          TEXT,
    schedule_id      TEXT,
    workflow_id      TEXT,
    unique_key       TEXT,
    idempotency_key  TEXT,
    error            TEXT,
    worker_id        TEXT,
    claim_id         INTEGER,
    started_at       INTEGER,
    deadline         INTEGER,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    cancel_reason    TEXT,
    PRIMARY KEY (namespace, id)
) WITHOUT ROWID;

-- Each covers what its statement asks, so that choosing rows never touches the rows themselves; "state" is in a partial
-- index because SQLite before 3.44 does not see that its WHERE implies it.
CREATE INDEX live_available ON live (namespace, queue, priority DESC, type, id, expires_at, attempt, state)
    WHERE state = 'available';
CREATE INDEX live_due ON live (namespace, run_at, state, queue) WHERE state IN ('scheduled', 'retrying');
CREATE INDEX live_expiring ON live (namespace, expires_at) WHERE expires_at IS NOT NULL AND attempt = 0;
CREATE INDEX live_running ON live (namespace, worker_id, cancel_requested, deadline, state) WHERE state = 'running';
CREATE INDEX live_schedule ON live (namespace, schedule_id, id) WHERE schedule_id IS NOT NULL;
CREATE INDEX live_workflow ON live (namespace, workflow_id, id) WHERE workflow_id IS NOT NULL;

CREATE TABLE done (
    namespace        TEXT    NOT NULL,
    id               TEXT    NOT NULL,
    type             TEXT    NOT NULL,
    queue            TEXT    NOT NULL,
    priority         INTEGER NOT NULL,
    state            TEXT    NOT NULL,
    run_at           INTEGER NOT NULL,
    created_at       INTEGER NOT NULL,
    attempt          INTEGER NOT NULL,
    attempt_limit    INTEGER NOT NULL,
    max_retries      INTEGER NOT NULL,
    timeout          INTEGER,
    expires_at       INTEGER,
    payload          TEXT    NOT NULL,
    options          TEXT,
    schedule_id      TEXT,
    workflow_id      TEXT,
    unique_key       TEXT,
    idempotency_key  TEXT,
    error            TEXT,
    worker_id        TEXT,
    claim_id         INTEGER,
    started_at       INTEGER,
    finished_at      INTEGER NOT NULL,
    result           TEXT,
    how              TEXT,
    PRIMARY KEY (namespace, id)
) WITHOUT ROWID;

CREATE INDEX done_state ON done (namespace, state, id);
CREATE INDEX done_queue ON done (namespace, queue, id);
CREATE INDEX done_type ON done (namespace, type, id);
CREATE INDEX done_finished ON done (namespace, state, finished_at);
CREATE INDEX done_schedule ON done (namespace, schedule_id, id) WHERE schedule_id IS NOT NULL;
CREATE INDEX done_workflow ON done (namespace, workflow_id, id) WHERE workflow_id IS NOT NULL;

-- expires_at NULL: held as long as the job is kept. The last three answer a replay once the job itself is forgotten.
-- The key of a schedule has the schedule's id in place of a job's: it goes with the schedule.
CREATE TABLE idempotency (
    namespace   TEXT    NOT NULL,
    key         TEXT    NOT NULL,
    fingerprint TEXT    NOT NULL,
    job_id      TEXT    NOT NULL,
    expires_at  INTEGER,
    state       TEXT,
    created_at  INTEGER,
    run_at      INTEGER,
    PRIMARY KEY (namespace, key)
) WITHOUT ROWID;
-- A job has its own key and those of its duplicates: all go with it.
CREATE INDEX idempotency_job ON idempotency (namespace, job_id);
CREATE INDEX idempotency_expiry ON idempotency (namespace, expires_at) WHERE expires_at IS NOT NULL;

-- states is a JSON list. A row stands only while its job is in one of them; it is not taken away by the job's end,
-- which therefore costs nothing, but replaced by the next job with the key. The last three stand for a job that is
-- forgotten before the key's time is over.
CREATE TABLE uniqueness (
    namespace  TEXT    NOT NULL,
    key        TEXT    NOT NULL,
    job_id     TEXT    NOT NULL,
    states     TEXT    NOT NULL,
    expires_at INTEGER,
    state      TEXT,
    created_at INTEGER,
    run_at     INTEGER,
    PRIMARY KEY (namespace, key)
) WITHOUT ROWID;
CREATE INDEX uniqueness_expiry ON uniqueness (namespace, expires_at) WHERE expires_at IS NOT NULL;

-- A row only for an attempt that did not end its job; the last attempt is on the job itself.
CREATE TABLE attempts (
    namespace   TEXT    NOT NULL,
    job_id      TEXT    NOT NULL,
    sequence    INTEGER NOT NULL,
    number      INTEGER NOT NULL,
    worker_id   TEXT,
    started_at  INTEGER,
    finished_at INTEGER NOT NULL,
    outcome     TEXT    NOT NULL,
    error       TEXT,
    PRIMARY KEY (namespace, job_id, sequence)
) WITHOUT ROWID;

CREATE TABLE progress (
    namespace  TEXT NOT NULL,
    job_id     TEXT NOT NULL,
    progress   TEXT,
    checkpoint TEXT,
    PRIMARY KEY (namespace, job_id)
) WITHOUT ROWID;

CREATE TABLE logs (
    namespace TEXT    NOT NULL,
    job_id    TEXT    NOT NULL,
    sequence  INTEGER NOT NULL,
    attempt   INTEGER NOT NULL,
    at        INTEGER NOT NULL,
    level     TEXT    NOT NULL,
    text      TEXT    NOT NULL,
    PRIMARY KEY (namespace, job_id, sequence)
) WITHOUT ROWID;

CREATE TABLE workers (
    namespace   TEXT    NOT NULL,
    id          TEXT    NOT NULL,
    host        TEXT    NOT NULL,
    pid         INTEGER NOT NULL,
    version     TEXT    NOT NULL,
    queues      TEXT    NOT NULL,
    types       TEXT    NOT NULL,
    slots       INTEGER NOT NULL,
    busy        INTEGER NOT NULL DEFAULT 0,
    started_at  INTEGER NOT NULL,
    seen_at     INTEGER NOT NULL,
    lease_until INTEGER NOT NULL,
    drain       INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (namespace, id)
) WITHOUT ROWID;

CREATE TABLE leader (
    namespace   TEXT    NOT NULL,
    holder      TEXT,
    epoch       INTEGER NOT NULL,
    lease_until INTEGER NOT NULL,
    PRIMARY KEY (namespace)
) WITHOUT ROWID;

CREATE TABLE queues (
    namespace TEXT    NOT NULL,
    name      TEXT    NOT NULL,
    paused    INTEGER NOT NULL DEFAULT 0,
    paused_at INTEGER,
    paused_by TEXT,
    max_depth INTEGER,
    PRIMARY KEY (namespace, name)
) WITHOUT ROWID;

-- slot is the second of the sample (µs); of older samples only some are kept.
CREATE TABLE depths (
    namespace TEXT    NOT NULL,
    slot      INTEGER NOT NULL,
    queue     TEXT    NOT NULL,
    state     TEXT    NOT NULL,
    depth     INTEGER NOT NULL,
    oldest    INTEGER,
    PRIMARY KEY (namespace, slot, queue, state)
) WITHOUT ROWID;

-- slot is the start of ten seconds (µs); the buckets are those of flux.domain.stats.
CREATE TABLE rollups (
    namespace   TEXT    NOT NULL,
    slot        INTEGER NOT NULL,
    queue       TEXT    NOT NULL,
    type        TEXT    NOT NULL,
    outcome     TEXT    NOT NULL,
    kind        TEXT    NOT NULL,
    wait_bucket INTEGER NOT NULL,
    run_bucket  INTEGER NOT NULL,
    count       INTEGER NOT NULL,
    PRIMARY KEY (namespace, slot, queue, type, outcome, kind, wait_bucket, run_bucket)
) WITHOUT ROWID;

CREATE TABLE schedules (
    namespace    TEXT    NOT NULL,
    name         TEXT    NOT NULL,
    id           TEXT    NOT NULL,
    spec         TEXT    NOT NULL,
    paused       INTEGER NOT NULL,
    declared     INTEGER NOT NULL,
    version      INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    next_job_id  TEXT,
    next_fire_at INTEGER,
    last_fire_at INTEGER,
    note         TEXT,
    PRIMARY KEY (namespace, name)
) WITHOUT ROWID;
CREATE UNIQUE INDEX schedules_id ON schedules (namespace, id);

-- What makes an occurrence happen once, however many schedulers there are.
CREATE TABLE occurrences (
    namespace   TEXT    NOT NULL,
    schedule_id TEXT    NOT NULL,
    fire_at     INTEGER NOT NULL,
    job_id      TEXT    NOT NULL,
    PRIMARY KEY (namespace, schedule_id, fire_at)
) WITHOUT ROWID;

-- Workflows come later; their place is kept.
CREATE TABLE steps (
    namespace   TEXT NOT NULL,
    workflow_id TEXT NOT NULL,
    name        TEXT NOT NULL,
    state       TEXT NOT NULL,
    needs_left  INTEGER NOT NULL,
    job_id      TEXT,
    spec        TEXT,
    PRIMARY KEY (namespace, workflow_id, name)
) WITHOUT ROWID;

-- One row per batch of changes, not per job: an event costs the hot path next to nothing.
-- items is a JSON list of [key, type, queue]; size is its length, so that all can be summed without reading them.
CREATE TABLE events (
    sequence  INTEGER PRIMARY KEY AUTOINCREMENT,
    namespace TEXT    NOT NULL,
    at        INTEGER NOT NULL,
    subject   TEXT    NOT NULL,
    state     TEXT    NOT NULL,
    size      INTEGER NOT NULL,
    items     TEXT    NOT NULL
);
