-- Statements of the end of steps. Rows are locked in one order everywhere: jobs by id, steps by workflow and number,
-- workflows by id; the values come in it, and are walked in it.

-- What the ends of steps release. Each edge from them is counted once in the row of its target; whoever brings that to
-- nothing left releases it, and nobody looks at siblings: their ends may not be committed yet. A row that somebody else has
-- counted meanwhile is counted on from there (the key finds its newest version, and the conditions are asked again of that).
-- Answers the steps that are released: live ones, whose jobs are available by this statement, and those that have ended
-- themselves. A run that is being cancelled starts nothing more.
-- The lookups are by key, once for each row, whatever the planner thinks of the number of rows: LIMIT and OFFSET keep it from
-- joining whole tables, and "= ANY (ARRAY[…])" from merging or hashing them.
-- name: release
WITH given AS MATERIALIZED (
    SELECT g.workflow_id, g.number, g.state, g.bit, w.definition_id, w.created_at, w.cancel_requested
      FROM unnest(@workflows::text[], @numbers::integer[], @states::text[], @bits::integer[])
           AS g (workflow_id, number, state, bit)
     CROSS JOIN LATERAL (SELECT * FROM flux.workflows w
                          WHERE w.namespace = @namespace AND w.id = g.workflow_id LIMIT 1) w
), ended AS (
    UPDATE flux.steps s SET state = g.state FROM given g
     WHERE s.namespace = @namespace AND s.workflow_id = ANY (ARRAY[g.workflow_id]) AND s.number = ANY (ARRAY[g.number])
       AND s.state = 'live'
), touched AS MATERIALIZED (
    SELECT t.*, d.kind, d.type, d.queue
      FROM (SELECT g.workflow_id, g.definition_id, g.created_at, g.cancel_requested, e.target, count(*)::integer AS ended,
                   (count(*) FILTER (WHERE e.mask & g.bit = 0))::integer AS unmet
              FROM given g CROSS JOIN LATERAL (
                   SELECT e.target, e.mask FROM flux.definition_edges e
                    WHERE e.namespace = @namespace AND e.definition_id = g.definition_id AND e.source = g.number OFFSET 0) e
             GROUP BY g.workflow_id, g.definition_id, g.created_at, g.cancel_requested, e.target) t
     CROSS JOIN LATERAL (SELECT d.kind, d.type, d.queue FROM flux.definition_steps d
                          WHERE d.namespace = @namespace AND d.definition_id = t.definition_id AND d.number = t.target
                          LIMIT 1) d
     ORDER BY t.workflow_id, t.target
), counted AS (
    UPDATE flux.steps s
       SET needs_left = s.needs_left - t.ended, needs_unmet = s.needs_unmet + t.unmet,
           state = CASE WHEN s.needs_left > t.ended THEN s.state
                        WHEN t.cancel_requested THEN 'cancelled'
                        WHEN s.needs_unmet + t.unmet > 0 THEN 'skipped'
                        WHEN t.kind = 'job' THEN 'live'
                        ELSE 'waiting' END
      FROM touched t
     WHERE s.namespace = @namespace AND s.workflow_id = ANY (ARRAY[t.workflow_id]) AND s.number = ANY (ARRAY[t.target])
       AND s.state = 'blocked'
    RETURNING s.workflow_id, s.number, s.state, s.job_id, t.definition_id, t.created_at, t.type, t.queue
), started AS (
    INSERT INTO flux.live (namespace, id, type, queue, priority, state, run_at, created_at, attempt_limit, max_retries,
                           payload, timeout, options, workflow_id, step)
    SELECT @namespace, c.job_id, d.type, d.queue, d.priority, 'available', @now::bigint, c.created_at, d.max_retries + 1,
           d.max_retries, d.payload, d.timeout, d.options, c.workflow_id, c.number
      FROM counted c CROSS JOIN LATERAL (
           SELECT * FROM flux.definition_steps d
            WHERE d.namespace = @namespace AND d.definition_id = c.definition_id AND d.number = c.number LIMIT 1) d
     WHERE c.state = 'live'
)
SELECT c.workflow_id, c.number, c.state, c.job_id, c.type, c.queue FROM counted c WHERE c.state NOT IN ('blocked', 'waiting');

-- How many of these failed steps fail their workflows.
-- name: failures
SELECT w.id, count(*)
  FROM unnest(@workflows::text[], @numbers::integer[]) AS g (workflow_id, number)
 CROSS JOIN LATERAL (SELECT * FROM flux.workflows w
                      WHERE w.namespace = @namespace AND w.id = g.workflow_id LIMIT 1) w
 CROSS JOIN LATERAL (SELECT * FROM flux.definition_steps d
                      WHERE d.namespace = @namespace AND d.definition_id = w.definition_id AND d.number = g.number
                      LIMIT 1) d
 WHERE NOT d.tolerated GROUP BY w.id;

-- The last statement before the commit: every end of a step of a run writes the same row. Whoever brings it to nothing left
-- ends the run, or has it wait for its end to be evaluated.
-- name: count_ended
UPDATE flux.workflows w
   SET steps_left = w.steps_left - g.ended, failures = w.failures + g.failures,
       state = CASE WHEN w.steps_left > g.ended OR w.dynamic_end THEN w.state
                    WHEN w.cancel_requested THEN 'cancelled'
                    WHEN w.failures + g.failures > 0 THEN 'failed'
                    ELSE 'succeeded' END,
       ending = w.dynamic_end AND w.steps_left <= g.ended,
       finished_at = CASE WHEN w.steps_left <= g.ended AND NOT w.dynamic_end THEN @now::bigint END
  FROM unnest(@ids::text[], @ended::integer[], @failures::integer[]) AS g (id, ended, failures)
 WHERE w.namespace = @namespace AND w.id = ANY (ARRAY[g.id]);
