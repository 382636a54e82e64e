DROP INDEX done_finished;
CREATE INDEX done_finished ON done (namespace, state, finished_at);
ALTER TABLE done DROP COLUMN step;
ALTER TABLE live DROP COLUMN step;
DROP TABLE steps;
DROP TABLE workflows;
DROP TABLE definition_edges;
DROP TABLE definition_steps;
DROP TABLE workflow_definitions;
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
