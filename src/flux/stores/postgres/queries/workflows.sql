-- Statements of runs of graphs: creating, reading, cancelling and forgetting them.

-- Definitions stay while a run of them is created.
-- name: hold_definitions
SELECT id FROM flux.workflow_definitions
 WHERE namespace = @namespace AND id = ANY (@ids::text[]) ORDER BY id FOR KEY SHARE;

-- name: insert_definitions
INSERT INTO flux.workflow_definitions (namespace, id, document, created_at)
SELECT @namespace, g.id, g.document, @now::bigint
  FROM unnest(@ids::text[], @documents::bytea[]) AS g (id, document) ORDER BY g.id
ON CONFLICT DO NOTHING RETURNING id;

-- name: insert_workflows
INSERT INTO flux.workflows (namespace, id, name, template, version, definition_id, state, input, created_at, started_at,
                            deadline, steps_left, dynamic_end)
SELECT @namespace, g.id, g.name, g.template, g.version, g.definition_id, 'running', g.input, @now::bigint, @now::bigint,
       @now::bigint + g.timeout, g.steps, g.dynamic_end
  FROM unnest(@ids::text[], @names::text[], @templates::text[], @versions::integer[], @definitions::text[],
              @inputs::bytea[], @timeouts::bigint[], @steps::integer[], @dynamic_ends::boolean[])
       AS g (id, name, template, version, definition_id, input, timeout, steps, dynamic_end)
 ORDER BY g.id
ON CONFLICT DO NOTHING RETURNING id;

-- name: find_workflows
SELECT id, name, definition_id, input, state, created_at FROM flux.workflows
 WHERE namespace = @namespace AND id = ANY (@ids::text[]);

-- The steps of runs; start is where a run's ids begin among all.
-- name: insert_steps
INSERT INTO flux.steps (namespace, workflow_id, number, state, needs_left, needs_unmet, job_id)
SELECT @namespace, g.id, d.number,
       CASE WHEN d.needs > 0 THEN 'blocked' WHEN d.kind = 'job' THEN 'live' ELSE 'waiting' END, d.needs, 0,
       (@job_ids::uuid[])[g.start + d.number + 1]
  FROM unnest(@ids::text[], @definitions::text[], @starts::integer[]) AS g (id, definition_id, start)
  JOIN flux.definition_steps d ON d.namespace = @namespace AND d.definition_id = g.definition_id;

-- The jobs of those that wait for nothing.
-- name: insert_roots
INSERT INTO flux.live (namespace, id, type, queue, priority, state, run_at, created_at, attempt_limit, max_retries,
                       payload, timeout, options, workflow_id, step)
SELECT @namespace, (@job_ids::uuid[])[g.start + d.number + 1], d.type, d.queue, d.priority, 'available', @now::bigint,
       @now::bigint, d.max_retries + 1, d.max_retries, d.payload, d.timeout, d.options, g.id, d.number
  FROM unnest(@ids::text[], @definitions::text[], @starts::integer[]) AS g (id, definition_id, start)
  JOIN flux.definition_steps d
    ON d.namespace = @namespace AND d.definition_id = g.definition_id AND d.needs = 0 AND d.kind = 'job'
RETURNING id, type, queue;

-- From its commit on no end releases anything of the run that could start.
-- name: ask_cancel
UPDATE flux.workflows SET cancel_requested = true, cancel_reason = coalesce(cancel_reason, @reason)
 WHERE namespace = @namespace AND id = @id AND state IN ('running', 'paused')
RETURNING state;

-- name: state_of_workflow
SELECT state FROM flux.workflows WHERE namespace = @namespace AND id = @id;

-- name: live_of_workflow
SELECT id FROM flux.live WHERE namespace = @namespace AND workflow_id = @id;

-- name: cancel_steps
WITH chosen AS MATERIALIZED (
    SELECT s.number FROM flux.steps s
     WHERE s.namespace = @namespace AND s.workflow_id = @id AND s.state IN ('blocked', 'waiting')
     ORDER BY s.number FOR UPDATE
)
UPDATE flux.steps s SET state = 'cancelled'
  FROM chosen c WHERE s.namespace = @namespace AND s.workflow_id = @id AND s.number = ANY (ARRAY[c.number]);

-- name: read_workflow
SELECT * FROM flux.workflows WHERE namespace = @namespace AND id = @id;

-- name: read_definition
SELECT document FROM flux.workflow_definitions WHERE namespace = @namespace AND id = @id;

-- name: list_workflows
SELECT * FROM flux.workflows
 WHERE namespace = @namespace AND id < @below AND (@template::text IS NULL OR template = @template::text)
 ORDER BY id DESC LIMIT @limit;

-- name: list_workflows_by_state
SELECT w.* FROM unnest(@states::text[]) AS g (state) CROSS JOIN LATERAL (
    SELECT * FROM flux.workflows
     WHERE namespace = @namespace AND state = g.state AND id < @below
       AND (@name::text IS NULL OR name = @name::text) AND (@template::text IS NULL OR template = @template::text)
     ORDER BY id DESC LIMIT @limit) w
 ORDER BY w.id DESC LIMIT @limit;

-- name: list_workflows_by_name
SELECT * FROM flux.workflows
 WHERE namespace = @namespace AND name = @name AND id < @below AND (@template::text IS NULL OR template = @template::text)
 ORDER BY id DESC LIMIT @limit;

-- name: read_steps
SELECT s.number, d.name, s.state, s.job_id
  FROM flux.workflows w
  JOIN flux.steps s ON s.namespace = @namespace AND s.workflow_id = w.id
  JOIN flux.definition_steps d ON d.namespace = @namespace AND d.definition_id = w.definition_id AND d.number = s.number
 WHERE w.namespace = @namespace AND w.id = @id AND s.number > @after AND s.state = ANY (@states::text[])
 ORDER BY s.number LIMIT @limit;

-- name: read_some_steps
SELECT s.number, s.state, s.job_id FROM flux.steps s
 WHERE s.namespace = @namespace AND s.workflow_id = @id AND s.number = ANY (@numbers::integer[]) ORDER BY s.number;

-- Ids are in the order of numbers, so those of a page are a range.
-- name: read_step_jobs
SELECT l.id, l.state, l.attempt, l.started_at, NULL::bigint AS finished_at, NULL::bytea AS result, l.error
  FROM flux.live l
 WHERE l.namespace = @namespace AND l.workflow_id = @id AND l.id >= @first::uuid AND l.id <= @last::uuid
UNION ALL
SELECT d.id, d.state, d.attempt, d.started_at, d.finished_at, d.result, d.error
  FROM flux.done d
 WHERE d.namespace = @namespace AND d.workflow_id = @id AND d.id >= @first::uuid AND d.id <= @last::uuid;

-- name: read_step_ends
SELECT l.id, l.state, NULL::bytea AS result, l.error FROM flux.live l
 WHERE l.namespace = @namespace AND l.id = ANY (@ids::uuid[])
UNION ALL
SELECT d.id, d.state, d.result, d.error FROM flux.done d
 WHERE d.namespace = @namespace AND d.id = ANY (@ids::uuid[]);

-- name: ending_workflows
SELECT id FROM flux.workflows WHERE namespace = @namespace AND ending ORDER BY id LIMIT @limit;

-- name: end_workflow
UPDATE flux.workflows SET state = @state, output = @output, error = @error, ending = false,
                          finished_at = coalesce(@now::bigint, flux.clock())
 WHERE namespace = @namespace AND id = @id AND ending;

-- name: aged_workflows
SELECT id FROM flux.workflows
 WHERE namespace = @namespace AND state = @state AND finished_at < @before::bigint ORDER BY finished_at LIMIT @limit;

-- name: jobs_of_workflows
SELECT id FROM flux.done WHERE namespace = @namespace AND workflow_id = ANY (@ids::text[]) LIMIT @limit;

-- name: without_jobs
SELECT g.id FROM unnest(@ids::text[]) AS g (id)
 WHERE NOT EXISTS (SELECT 1 FROM flux.done d WHERE d.namespace = @namespace AND d.workflow_id = g.id);

-- name: forget_steps
DELETE FROM flux.steps WHERE namespace = @namespace AND workflow_id = ANY (@ids::text[]);

-- name: forget_workflows
DELETE FROM flux.workflows WHERE namespace = @namespace AND id = ANY (@ids::text[]) RETURNING definition_id;

-- Whoever creates a run of one holds it: he comes first, and it is asked only afterwards whether it has runs.
-- name: take_definitions
SELECT id FROM flux.workflow_definitions
 WHERE namespace = @namespace AND id = ANY (@ids::text[]) ORDER BY id FOR UPDATE SKIP LOCKED;

-- name: unused_definitions
SELECT g.id FROM unnest(@ids::text[]) AS g (id)
 WHERE NOT EXISTS (SELECT 1 FROM flux.workflows w WHERE w.namespace = @namespace AND w.definition_id = g.id);

-- name: forget_definition_steps
DELETE FROM flux.definition_steps WHERE namespace = @namespace AND definition_id = ANY (@ids::text[]);

-- name: forget_definition_edges
DELETE FROM flux.definition_edges WHERE namespace = @namespace AND definition_id = ANY (@ids::text[]);

-- name: forget_definitions
DELETE FROM flux.workflow_definitions WHERE namespace = @namespace AND id = ANY (@ids::text[]);
