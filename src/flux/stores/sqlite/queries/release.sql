-- Statements of the end of steps. ?1 is the namespace everywhere, ?2 most often a JSON list of ended steps:
-- [workflow, number, state, bit]. An update takes even the namespace from what it joins, which is kept apart: otherwise the
-- planner walks through all steps of the namespace and looks for each of them there.

-- name: end_steps
WITH g AS MATERIALIZED (
    SELECT ?1 AS namespace, json_extract(value, '$[0]') AS workflow_id, json_extract(value, '$[1]') AS number,
           json_extract(value, '$[2]') AS state
      FROM json_each(?2)
)
UPDATE steps SET state = g.state
  FROM g
 WHERE steps.namespace = g.namespace AND steps.workflow_id = g.workflow_id AND steps.number = g.number
   AND +steps.state = 'live';

-- Each edge from them is counted once in the row of its target.
-- name: count_needs
UPDATE steps SET needs_left = needs_left - t.ended, needs_unmet = needs_unmet + t.unmet
  FROM (SELECT ?1 AS namespace, w.id AS workflow_id, e.target, count(*) AS ended,
               sum(e.mask & json_extract(g.value, '$[3]') = 0) AS unmet
          FROM json_each(?2) g CROSS JOIN workflows w CROSS JOIN definition_edges e
         WHERE w.namespace = ?1 AND w.id = json_extract(g.value, '$[0]')
           AND e.namespace = ?1 AND e.definition_id = w.definition_id AND e.source = json_extract(g.value, '$[1]')
         GROUP BY w.id, e.target) t
 WHERE steps.namespace = t.namespace AND steps.workflow_id = t.workflow_id AND steps.number = t.target
   AND +steps.state = 'blocked';

-- Those that this has brought to nothing left, with what becomes of them: nobody else writes meanwhile, and none is left
-- blocked so. A run that is being cancelled starts nothing more.
-- name: released
SELECT json_group_array(json_array(workflow_id, number, state, job_id, type, queue)) FROM (
    SELECT DISTINCT s.workflow_id, s.number, s.job_id, d.type, d.queue,
           CASE WHEN w.cancel_requested THEN 'cancelled' WHEN s.needs_unmet > 0 THEN 'skipped'
                WHEN d.kind = 'job' THEN 'live' ELSE 'waiting' END AS state
      FROM json_each(?2) g CROSS JOIN workflows w CROSS JOIN definition_edges e CROSS JOIN steps s
     CROSS JOIN definition_steps d
     WHERE w.namespace = ?1 AND w.id = json_extract(g.value, '$[0]')
       AND e.namespace = ?1 AND e.definition_id = w.definition_id AND e.source = json_extract(g.value, '$[1]')
       AND s.namespace = ?1 AND s.workflow_id = w.id AND s.number = e.target AND s.needs_left = 0 AND s.state = 'blocked'
       AND d.namespace = ?1 AND d.definition_id = w.definition_id AND d.number = s.number);

-- It takes what released answered, as does start_steps.
-- name: let_go
WITH g AS MATERIALIZED (
    SELECT ?1 AS namespace, json_extract(value, '$[0]') AS workflow_id, json_extract(value, '$[1]') AS number,
           json_extract(value, '$[2]') AS state
      FROM json_each(?2)
)
UPDATE steps SET state = g.state
  FROM g
 WHERE steps.namespace = g.namespace AND steps.workflow_id = g.workflow_id AND steps.number = g.number;

-- name: start_steps
INSERT INTO live (namespace, id, type, queue, priority, state, run_at, created_at, attempt_limit, max_retries, payload,
                  timeout, options, workflow_id, step)
SELECT ?1, json_extract(g.value, '$[3]'), d.type, d.queue, d.priority, 'available', ?3, w.created_at, d.max_retries + 1,
       d.max_retries, d.payload, d.timeout, d.options, w.id, d.number
  FROM json_each(?2) g CROSS JOIN workflows w CROSS JOIN definition_steps d
 WHERE json_extract(g.value, '$[2]') = 'live' AND w.namespace = ?1 AND w.id = json_extract(g.value, '$[0]')
   AND d.namespace = ?1 AND d.definition_id = w.definition_id AND d.number = json_extract(g.value, '$[1]');

-- How many of these failed steps fail their workflows.
-- name: failures
SELECT json_group_array(json_array(id, number)) FROM (
    SELECT w.id, count(*) AS number
      FROM json_each(?2) g CROSS JOIN workflows w CROSS JOIN definition_steps d
     WHERE w.namespace = ?1 AND w.id = json_extract(g.value, '$[0]')
       AND d.namespace = ?1 AND d.definition_id = w.definition_id AND d.number = json_extract(g.value, '$[1]')
       AND NOT d.tolerated
     GROUP BY w.id);

-- Whoever brings a run's counter to nothing left ends it, or has it wait for its end to be evaluated.
-- name: count_ended
-- row: (*, *, *)
WITH g (id, ended, failed) AS (VALUES {rows})
UPDATE workflows
   SET steps_left = steps_left - g.ended, failures = failures + g.failed,
       state = CASE WHEN steps_left > g.ended OR dynamic_end THEN state
                    WHEN cancel_requested THEN 'cancelled'
                    WHEN failures + g.failed > 0 THEN 'failed'
                    ELSE 'succeeded' END,
       ending = dynamic_end AND steps_left <= g.ended,
       finished_at = CASE WHEN steps_left <= g.ended AND NOT dynamic_end THEN ?2 END
  FROM g WHERE workflows.namespace = ?1 AND workflows.id = g.id;
