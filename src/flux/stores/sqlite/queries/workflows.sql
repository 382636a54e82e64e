-- Statements of runs of graphs: creating, reading, cancelling and forgetting them. ?1 is the namespace everywhere.

-- name: find_definition
SELECT id FROM workflow_definitions WHERE namespace = ?1 AND id = ?2;

-- name: insert_definition
INSERT INTO workflow_definitions (namespace, id, document, created_at) VALUES (?1, ?2, ?3, ?4);

-- name: insert_definition_steps
-- row: (?1, ?2, *, *, *, *, *, *, *, *, *, *, *, *)
INSERT INTO definition_steps (namespace, definition_id, number, name, needs, kind, tolerated, type, queue, priority,
                              max_retries, timeout, payload, options)
VALUES {rows};

-- name: insert_definition_edges
-- row: (?1, ?2, *, *, *)
INSERT INTO definition_edges (namespace, definition_id, source, target, mask) VALUES {rows};

-- name: insert_workflow
INSERT OR IGNORE INTO workflows (namespace, id, name, template, version, definition_id, state, input, created_at, started_at,
                                 deadline, steps_left, dynamic_end)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'running', ?7, ?8, ?8, ?8 + ?9, ?10, ?11);

-- name: find_workflow
SELECT name, definition_id, input, state, created_at FROM workflows WHERE namespace = ?1 AND id = ?2;

-- The ids of the jobs of all steps come as a JSON list, in the order of the steps.
-- name: insert_steps
INSERT INTO steps (namespace, workflow_id, number, state, needs_left, needs_unmet, job_id)
SELECT ?1, ?2, d.number, CASE WHEN d.needs > 0 THEN 'blocked' WHEN d.kind = 'job' THEN 'live' ELSE 'waiting' END, d.needs, 0,
       j.value
  FROM json_each(?4) j CROSS JOIN definition_steps d
 WHERE d.namespace = ?1 AND d.definition_id = ?3 AND d.number = j.key;

-- The jobs of those that wait for nothing.
-- name: insert_roots
INSERT INTO live (namespace, id, type, queue, priority, state, run_at, created_at, attempt_limit, max_retries, payload,
                  timeout, options, workflow_id, step)
SELECT ?1, j.value, d.type, d.queue, d.priority, 'available', ?5, ?5, d.max_retries + 1, d.max_retries, d.payload, d.timeout,
       d.options, ?2, d.number
  FROM json_each(?4) j CROSS JOIN definition_steps d
 WHERE d.namespace = ?1 AND d.definition_id = ?3 AND d.number = j.key AND d.needs = 0 AND d.kind = 'job';

-- name: ask_cancel
UPDATE workflows SET cancel_requested = 1, cancel_reason = coalesce(cancel_reason, ?3)
 WHERE namespace = ?1 AND id = ?2 AND state IN ('running', 'paused');

-- name: state_of_workflow
SELECT state FROM workflows WHERE namespace = ?1 AND id = ?2;

-- name: live_of_workflow
SELECT json_group_array(id) FROM live WHERE namespace = ?1 AND workflow_id = ?2;

-- name: cancel_steps
UPDATE steps SET state = 'cancelled' WHERE namespace = ?1 AND workflow_id = ?2 AND state IN ('blocked', 'waiting');

-- name: read_workflow
SELECT json_group_array(json_array(id, name, template, version, definition_id, state, input, output, error, created_at,
           started_at, finished_at, deadline, steps_left, failures, dynamic_end, ending, cancel_requested, cancel_reason))
  FROM workflows WHERE namespace = ?1 AND id = ?2;

-- name: read_definition
SELECT document FROM workflow_definitions WHERE namespace = ?1 AND id = ?2;

-- name: list_workflows
SELECT json_group_array(json_array(id, name, template, version, definition_id, state, input, output, error, created_at,
           started_at, finished_at, deadline, steps_left, failures, dynamic_end, ending, cancel_requested, cancel_reason))
  FROM (SELECT * FROM workflows WHERE namespace = ?1 AND id < ?2 AND (?3 IS NULL OR template = ?3)
         ORDER BY id DESC LIMIT ?4);

-- name: list_workflows_of_state
SELECT json_group_array(json_array(id, name, template, version, definition_id, state, input, output, error, created_at,
           started_at, finished_at, deadline, steps_left, failures, dynamic_end, ending, cancel_requested, cancel_reason))
  FROM (SELECT * FROM workflows INDEXED BY workflows_state
         WHERE namespace = ?1 AND id < ?2 AND (?3 IS NULL OR template = ?3) AND state = ?5 AND (?6 IS NULL OR name = ?6)
         ORDER BY id DESC LIMIT ?4);

-- name: list_workflows_by_name
SELECT json_group_array(json_array(id, name, template, version, definition_id, state, input, output, error, created_at,
           started_at, finished_at, deadline, steps_left, failures, dynamic_end, ending, cancel_requested, cancel_reason))
  FROM (SELECT * FROM workflows INDEXED BY workflows_name
         WHERE namespace = ?1 AND id < ?2 AND (?3 IS NULL OR template = ?3) AND name = ?5
         ORDER BY id DESC LIMIT ?4);

-- name: read_steps
SELECT json_group_array(json_array(number, name, state, job_id)) FROM (
    SELECT s.number, d.name, s.state, s.job_id
      FROM workflows w CROSS JOIN steps s CROSS JOIN definition_steps d
     WHERE w.namespace = ?1 AND w.id = ?2 AND s.namespace = ?1 AND s.workflow_id = w.id AND s.number > ?3
       AND s.state IN (SELECT value FROM json_each(?4))
       AND d.namespace = ?1 AND d.definition_id = w.definition_id AND d.number = s.number
     ORDER BY s.number LIMIT ?5);

-- name: read_some_steps
SELECT json_group_array(json_array(number, '', state, job_id)) FROM (
    SELECT s.number, s.state, s.job_id FROM steps s
     WHERE s.namespace = ?1 AND s.workflow_id = ?2 AND s.number IN (SELECT value FROM json_each(?3)) ORDER BY s.number);

-- name: read_step_jobs
SELECT json_group_array(json_array(id, state, attempt, started_at, finished_at, result, error)) FROM (
    SELECT l.id, l.state, l.attempt, l.started_at, NULL AS finished_at, NULL AS result, l.error
      FROM json_each(?2) j CROSS JOIN live l WHERE l.namespace = ?1 AND l.id = j.value
     UNION ALL
    SELECT d.id, d.state, d.attempt, d.started_at, d.finished_at, d.result, d.error
      FROM json_each(?2) j CROSS JOIN done d WHERE d.namespace = ?1 AND d.id = j.value);

-- name: ending_workflows
SELECT json_group_array(id) FROM (
    SELECT id FROM workflows INDEXED BY workflows_ending WHERE namespace = ?1 AND ending ORDER BY id LIMIT ?2);

-- name: end_workflow
UPDATE workflows SET state = ?3, output = ?4, error = ?5, ending = 0, finished_at = ?6
 WHERE namespace = ?1 AND id = ?2 AND ending;

-- name: aged_workflows
SELECT json_group_array(id) FROM (
    SELECT id FROM workflows INDEXED BY workflows_finished
     WHERE namespace = ?1 AND state = ?2 AND finished_at IS NOT NULL AND finished_at < ?3 ORDER BY finished_at LIMIT ?4);

-- name: jobs_of_workflows
SELECT json_group_array(id) FROM (
    SELECT id FROM done INDEXED BY done_workflow
     WHERE namespace = ?1 AND workflow_id IN (SELECT value FROM json_each(?2)) LIMIT ?3);

-- name: without_jobs
SELECT json_group_array(j.value) FROM json_each(?2) j
 WHERE NOT EXISTS (SELECT 1 FROM done d INDEXED BY done_workflow WHERE d.namespace = ?1 AND d.workflow_id = j.value);

-- name: forget_steps
DELETE FROM steps WHERE namespace = ?1 AND workflow_id IN (SELECT value FROM json_each(?2));

-- name: definitions_of
SELECT json_group_array(DISTINCT definition_id) FROM workflows
 WHERE namespace = ?1 AND id IN (SELECT value FROM json_each(?2));

-- name: forget_workflows
DELETE FROM workflows WHERE namespace = ?1 AND id IN (SELECT value FROM json_each(?2));

-- name: unused_definitions
SELECT json_group_array(j.value) FROM json_each(?2) j
 WHERE NOT EXISTS (SELECT 1 FROM workflows w WHERE w.namespace = ?1 AND w.definition_id = j.value);

-- name: forget_definition_steps
DELETE FROM definition_steps WHERE namespace = ?1 AND definition_id IN (SELECT value FROM json_each(?2));

-- name: forget_definition_edges
DELETE FROM definition_edges WHERE namespace = ?1 AND definition_id IN (SELECT value FROM json_each(?2));

-- name: forget_definitions
DELETE FROM workflow_definitions WHERE namespace = ?1 AND id IN (SELECT value FROM json_each(?2));
