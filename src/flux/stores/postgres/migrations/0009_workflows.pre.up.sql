-- Workflows. Their place was kept by a table that nobody has written yet.
DROP TABLE flux.steps;

-- A graph as it was defined, kept once under the digest of its content however many runs there are.
CREATE TABLE flux.workflow_definitions (
    namespace  text COLLATE "C" NOT NULL,
    id         text COLLATE "C" NOT NULL,
    document   bytea    NOT NULL,
    created_at bigint   NOT NULL,
    PRIMARY KEY (id, namespace)
);

-- The steps of a definition, numbered so that no edge leads to a smaller number. The last seven are what a step's job needs
-- in live; payload is a template where options name the definition. tolerated: its failure does not fail the workflow.
CREATE TABLE flux.definition_steps (
    number        integer  NOT NULL,
    needs         integer  NOT NULL,
    max_retries   integer  NOT NULL,
    timeout       bigint,
    priority      smallint NOT NULL,
    tolerated     boolean  NOT NULL,
    namespace     text COLLATE "C" NOT NULL,
    definition_id text COLLATE "C" NOT NULL,
    name          text COLLATE "C" NOT NULL,
    kind          text COLLATE "C" NOT NULL,
    type          text COLLATE "C",
    queue         text COLLATE "C" NOT NULL,
    payload       bytea    NOT NULL,
    options       bytea,
    PRIMARY KEY (definition_id, number, namespace)
);

-- mask has a bit for each outcome of the source that satisfies the target's need (flux.domain.workflow.states).
CREATE TABLE flux.definition_edges (
    source        integer  NOT NULL,
    target        integer  NOT NULL,
    mask          smallint NOT NULL,
    namespace     text COLLATE "C" NOT NULL,
    definition_id text COLLATE "C" NOT NULL,
    PRIMARY KEY (definition_id, source, target, namespace)
);

-- One run of a graph. The two counters are written by every end of a step; dynamic_end: something has to be evaluated when
-- the last step has ended, and ending says that it waits for that.
CREATE TABLE flux.workflows (
    created_at       bigint   NOT NULL,
    started_at       bigint,
    finished_at      bigint,
    deadline         bigint,
    version          integer,
    steps_left       integer  NOT NULL,
    failures         integer  NOT NULL DEFAULT 0,
    dynamic_end      boolean  NOT NULL,
    ending           boolean  NOT NULL DEFAULT false,
    cancel_requested boolean  NOT NULL DEFAULT false,
    namespace        text COLLATE "C" NOT NULL,
    id               text COLLATE "C" NOT NULL,
    name             text COLLATE "C" NOT NULL,
    template         text COLLATE "C",
    definition_id    text COLLATE "C" NOT NULL,
    state            text COLLATE "C" NOT NULL,
    input            bytea    NOT NULL,
    output           bytea,
    error            bytea,
    cancel_reason    text,
    PRIMARY KEY (id, namespace)
) WITH (fillfactor = 50);
-- The list by state, newest first.
CREATE INDEX workflows_state ON flux.workflows (namespace, state, id);
-- The list by name, newest first.
CREATE INDEX workflows_name ON flux.workflows (namespace, name, id);
-- Those whose end has to be evaluated: nearly always empty.
CREATE INDEX workflows_ending ON flux.workflows (namespace, id) WHERE ending;
-- What is past retention, oldest first of each state.
CREATE INDEX workflows_finished ON flux.workflows (namespace, state, finished_at) WHERE finished_at IS NOT NULL;
-- Whether a definition still has runs.
CREATE INDEX workflows_definition ON flux.workflows (definition_id, namespace);

-- The steps of a run. state is 'live' while the step's job is there; where that stands, the job says. needs_left counts the
-- edges whose source has not ended, needs_unmet those that ended otherwise than they had to. No index but the key, and half
-- of each page free, so that counting writes no index.
CREATE TABLE flux.steps (
    number      integer NOT NULL,
    needs_left  integer NOT NULL,
    needs_unmet integer NOT NULL,
    job_id      uuid    NOT NULL,
    namespace   text COLLATE "C" NOT NULL,
    workflow_id text COLLATE "C" NOT NULL,
    state       text COLLATE "C" NOT NULL,
    PRIMARY KEY (workflow_id, number, namespace)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);

-- The number of the step that a workflow's job is.
ALTER TABLE flux.live ADD COLUMN step integer;
ALTER TABLE flux.done ADD COLUMN step integer;
