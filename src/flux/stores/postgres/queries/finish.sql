-- Statements that end attempts and jobs. Rows are found one by one by their primary key: our connections plan without
-- looking at the values and without walks through tables (database.py), and "state || ''" keeps the planner from walking a
-- partial index once per row. The values come in the order of ids and so the rows are locked in it: two that write the same
-- rows never wait for each other crosswise.

-- Jobs that succeeded, with all that goes with it, in one round trip: those that were ours. Those of workflows only where
-- @steps says that the caller will release what waits for them, in the same transaction.
-- name: finish_succeeded
WITH clock AS MATERIALIZED (SELECT coalesce(@now::bigint, flux.clock()) AS now),
gone AS (
    DELETE FROM flux.live l
     USING unnest(@ids::uuid[], @claims::bigint[], @results::bytea[]) AS g (id, claim_id, result)
     WHERE l.namespace = @namespace AND l.id = g.id AND l.claim_id = g.claim_id AND l.state || '' = 'running'
       AND (l.workflow_id IS NULL OR @steps::boolean)
    RETURNING l.*, g.result
), moved AS (
    INSERT INTO flux.done (finished_at, run_at, created_at, timeout, expires_at, claim_id, started_at, fire_at, attempt,
                           attempt_limit, max_retries, priority, id, namespace, state, type, queue, payload, options, error,
                           result, how, worker_id, schedule_id, workflow_id, step, unique_key, idempotency_key)
    SELECT c.now, g.run_at, g.created_at, g.timeout, g.expires_at, g.claim_id, g.started_at, g.fire_at, g.attempt,
           g.attempt_limit, g.max_retries, g.priority, g.id, g.namespace, 'succeeded', g.type, g.queue, g.payload,
           g.options, NULL, g.result, 'succeeded', g.worker_id, g.schedule_id, g.workflow_id, g.step, g.unique_key,
           g.idempotency_key
      FROM gone g CROSS JOIN clock c
), counted AS (
    INSERT INTO flux.rollups (namespace, slot, queue, type, outcome, kind, wait_bucket, run_bucket, count)
    SELECT @namespace, b.now - b.now % 10000000, b.queue, b.type, 'succeeded', '', b.waited, b.ran, count(*)
      FROM (SELECT c.now, g.queue, g.type, flux.bucket(g.started_at - greatest(g.run_at, g.created_at)) AS waited,
                   flux.bucket(c.now - g.started_at) AS ran
              FROM gone g CROSS JOIN clock c) b
     GROUP BY b.now, b.queue, b.type, b.waited, b.ran
), told AS (
    INSERT INTO flux.events (namespace, at, subject, state, type, queue, ids)
    SELECT @namespace, c.now, 'job', 'succeeded', g.type, g.queue, array_agg(g.id)
      FROM gone g CROSS JOIN clock c GROUP BY c.now, g.type, g.queue
)
SELECT coalesce(array_agg(g.id), '{}') AS ids, (SELECT now FROM clock) AS now,
       array_agg(g.workflow_id) FILTER (WHERE g.step IS NOT NULL) AS workflows,
       array_agg(g.step) FILTER (WHERE g.step IS NOT NULL) AS steps
  FROM gone g;

-- Whether a success whose commit was not answered was kept.
-- name: kept
SELECT EXISTS (SELECT 1 FROM flux.done d
                WHERE d.namespace = @namespace AND d.id = @job_id AND d.claim_id = @claim_id AND d.state = 'succeeded');

-- What is known of live jobs, in the order of Standing's fields; they stay so until the transaction's end.
-- name: lock_standing
SELECT l.id, l.state, l.claim_id, l.type, l.queue, l.run_at, l.started_at, l.attempt, l.attempt_limit, l.worker_id,
       l.cancel_requested, l.cancel_reason, l.schedule_id, l.created_at, l.workflow_id, l.step
  FROM flux.live l
 WHERE l.namespace = @namespace AND l.id = ANY (ARRAY(SELECT unnest(@ids::uuid[]))) ORDER BY l.id FOR UPDATE;

-- The same without those that somebody else has locked: whoever does it once more later must not wait.
-- name: lock_standing_free
SELECT l.id, l.state, l.claim_id, l.type, l.queue, l.run_at, l.started_at, l.attempt, l.attempt_limit, l.worker_id,
       l.cancel_requested, l.cancel_reason, l.schedule_id, l.created_at, l.workflow_id, l.step
  FROM flux.live l
 WHERE l.namespace = @namespace AND l.id = ANY (ARRAY(SELECT unnest(@ids::uuid[]))) ORDER BY l.id FOR UPDATE SKIP LOCKED;

-- name: move_to_done
WITH gone AS (
    DELETE FROM flux.live l
     USING unnest(@ids::uuid[], @states::text[], @hows::text[], @results::bytea[], @errors::bytea[])
           AS g (id, state, how, result, error)
     WHERE l.namespace = @namespace AND l.id = g.id
    RETURNING l.*, g.state AS final, g.how, g.result, g.error AS last_error
)
INSERT INTO flux.done (finished_at, run_at, created_at, timeout, expires_at, claim_id, started_at, fire_at, attempt,
                       attempt_limit, max_retries, priority, id, namespace, state, type, queue, payload, options, error,
                       result, how, worker_id, schedule_id, workflow_id, step, unique_key, idempotency_key)
SELECT @now::bigint, g.run_at, g.created_at, g.timeout, g.expires_at, g.claim_id, g.started_at, g.fire_at, g.attempt,
       g.attempt_limit, g.max_retries, g.priority, g.id, g.namespace, g.final, g.type, g.queue, g.payload, g.options,
       g.last_error, g.result, g.how, g.worker_id, g.schedule_id, g.workflow_id, g.step, g.unique_key, g.idempotency_key
  FROM gone g;

-- Waits again: back is the attempt that is given back. It was started in time all the same, and nothing else would tell
-- that from a job that never was.
-- name: wait_again
UPDATE flux.live l
   SET state = g.state, run_at = g.run_at, error = coalesce(g.error, l.error), attempt = l.attempt - g.back,
       expires_at = CASE WHEN g.back = 1 THEN NULL ELSE l.expires_at END, worker_id = NULL, claim_id = NULL,
       started_at = NULL, deadline = NULL, cancel_requested = false, cancel_reason = NULL
  FROM unnest(@ids::uuid[], @states::text[], @run_ats::bigint[], @errors::bytea[], @backs::integer[])
       AS g (id, state, run_at, error, back)
 WHERE l.namespace = @namespace AND l.id = g.id AND l.state || '' = 'running';

-- name: insert_attempts
INSERT INTO flux.attempts (namespace, job_id, number, worker_id, started_at, finished_at, outcome, error)
SELECT @namespace, g.id, g.number, g.worker_id, g.started_at, @now::bigint, g.outcome, g.error
  FROM unnest(@ids::uuid[], @numbers::integer[], @workers::text[], @started::bigint[], @outcomes::text[], @errors::bytea[])
       WITH ORDINALITY AS g (id, number, worker_id, started_at, outcome, error, place)
 ORDER BY g.place;

-- name: count_rollups
INSERT INTO flux.rollups (namespace, slot, queue, type, outcome, kind, wait_bucket, run_bucket, count)
SELECT @namespace, @slot::bigint, g.* FROM unnest(@queues::text[], @types::text[], @outcomes::text[], @kinds::text[],
                                                  @waits::smallint[], @runs::smallint[], @counts::bigint[]) AS g;

-- name: insert_logs
INSERT INTO flux.logs (namespace, job_id, attempt, at, level, text)
SELECT @namespace, g.id, g.attempt, g.at, g.level, g.text
  FROM unnest(@ids::uuid[], @attempts::integer[], @ats::bigint[], @levels::text[], @texts::text[])
       WITH ORDINALITY AS g (id, attempt, at, level, text, place)
 ORDER BY g.place;

-- name: keep_progress
INSERT INTO flux.progress AS p (namespace, heartbeat_at, job_id, progress, checkpoint)
SELECT @namespace, coalesce(@now::bigint, flux.clock()), g.*
  FROM unnest(@ids::uuid[], @progress::bytea[], @checkpoints::bytea[]) AS g
ON CONFLICT (namespace, job_id) DO UPDATE SET heartbeat_at = excluded.heartbeat_at,
                                              progress = coalesce(excluded.progress, p.progress),
                                              checkpoint = coalesce(excluded.checkpoint, p.checkpoint);

-- name: request_cancel
UPDATE flux.live l SET cancel_requested = true, cancel_reason = @reason
 WHERE l.namespace = @namespace AND l.id = ANY (ARRAY(SELECT unnest(@ids::uuid[]))) AND l.state || '' = 'running';
