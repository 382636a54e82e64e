ALTER TABLE flux.done DROP COLUMN step;
ALTER TABLE flux.live DROP COLUMN step;
DROP TABLE flux.steps;
DROP TABLE flux.workflows;
DROP TABLE flux.definition_edges;
DROP TABLE flux.definition_steps;
DROP TABLE flux.workflow_definitions;
CREATE TABLE flux.steps (
    namespace   text COLLATE "C" NOT NULL,
    workflow_id text COLLATE "C" NOT NULL,
    name        text COLLATE "C" NOT NULL,
    state       text COLLATE "C" NOT NULL,
    needs_left  integer NOT NULL,
    job_id      uuid,
    spec        bytea,
    PRIMARY KEY (namespace, workflow_id, name)
);
