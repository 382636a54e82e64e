-- Workflows. Their place was kept by a table that nobody has written yet.
DROP TABLE steps;

-- A graph as it was defined, kept once under the digest of its content however many runs there are.
CREATE TABLE workflow_definitions (
    namespace  TEXT    NOT NULL,
    id         TEXT    NOT NULL,
    document   TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (namespace, id)
) WITHOUT ROWID;

-- The steps of a definition, numbered so that no edge leads to a smaller number. From type on it is what a step's job needs
-- in live; payload is a template where options name the definition. tolerated: its failure does not fail the workflow.
CREATE TABLE definition_steps (
    namespace     TEXT    NOT NULL,
    definition_id TEXT    NOT NULL,
    number        INTEGER NOT NULL,
    name          TEXT    NOT NULL,
    needs         INTEGER NOT NULL,
    kind          TEXT    NOT NULL,
    tolerated     INTEGER NOT NULL,
    type          TEXT,
    queue         TEXT    NOT NULL,
    priority      INTEGER NOT NULL,
    max_retries   INTEGER NOT NULL,
    timeout       INTEGER,
    payload       TEXT    NOT NULL,
    options       TEXT,
    PRIMARY KEY (namespace, definition_id, number)
) WITHOUT ROWID;

-- mask has a bit for each outcome of the source that satisfies the target's need (flux.domain.workflow.states).
CREATE TABLE definition_edges (
    namespace     TEXT    NOT NULL,
    definition_id TEXT    NOT NULL,
    source        INTEGER NOT NULL,
    target        INTEGER NOT NULL,
    mask          INTEGER NOT NULL,
    PRIMARY KEY (namespace, definition_id, source, target)
) WITHOUT ROWID;

-- One run of a graph. The two counters are written by every end of a step; dynamic_end: something has to be evaluated when
-- the last step has ended, and ending says that it waits for that.
CREATE TABLE workflows (
    namespace        TEXT    NOT NULL,
    id               TEXT    NOT NULL,
    name             TEXT    NOT NULL,
    template         TEXT,
    version          INTEGER,
    definition_id    TEXT    NOT NULL,
    state            TEXT    NOT NULL,
    steps_left       INTEGER NOT NULL,
    failures         INTEGER NOT NULL DEFAULT 0,
    dynamic_end      INTEGER NOT NULL,
    ending           INTEGER NOT NULL DEFAULT 0,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    cancel_reason    TEXT,
    created_at       INTEGER NOT NULL,
    started_at       INTEGER,
    finished_at      INTEGER,
    deadline         INTEGER,
    input            TEXT    NOT NULL,
    output           TEXT,
    error            TEXT,
    PRIMARY KEY (namespace, id)
) WITHOUT ROWID;
-- The list by state, newest first.
CREATE INDEX workflows_state ON workflows (namespace, state, id);
-- The list by name, newest first.
CREATE INDEX workflows_name ON workflows (namespace, name, id);
-- Those whose end has to be evaluated: nearly always empty.
CREATE INDEX workflows_ending ON workflows (namespace, id) WHERE ending;
-- What is past retention, oldest first of each state.
CREATE INDEX workflows_finished ON workflows (namespace, state, finished_at) WHERE finished_at IS NOT NULL;
-- Whether a definition still has runs.
CREATE INDEX workflows_definition ON workflows (namespace, definition_id);

-- The steps of a run. state is 'live' while the step's job is there; where that stands, the job says. needs_left counts the
-- edges whose source has not ended, needs_unmet those that ended otherwise than they had to.
CREATE TABLE steps (
    namespace   TEXT    NOT NULL,
    workflow_id TEXT    NOT NULL,
    number      INTEGER NOT NULL,
    state       TEXT    NOT NULL,
    needs_left  INTEGER NOT NULL,
    needs_unmet INTEGER NOT NULL,
    job_id      TEXT    NOT NULL,
    PRIMARY KEY (namespace, workflow_id, number)
) WITHOUT ROWID;

-- The number of the step that a workflow's job is.
ALTER TABLE live ADD COLUMN step INTEGER;
ALTER TABLE done ADD COLUMN step INTEGER;

-- What is past retention by itself, and not with its workflow, is told from the index alone.
DROP INDEX done_finished;
CREATE INDEX done_finished ON done (namespace, state, finished_at, workflow_id);
