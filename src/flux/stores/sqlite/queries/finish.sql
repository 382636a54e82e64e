-- Statements that end attempts and jobs. ?1 is the namespace everywhere. Rows are found by their primary key:
-- "+state" keeps the planner from walking a partial index once per row.

-- What is known of live jobs, in the order of Standing's fields.
-- name: read_standing
SELECT json_group_array(json_array(l.id, l.state, l.claim_id, l.type, l.queue, l.run_at, l.started_at, l.attempt,
           l.attempt_limit, l.worker_id, l.cancel_requested, l.cancel_reason, l.schedule_id, l.created_at,
           l.workflow_id, l.step))
  FROM json_each(?2) j CROSS JOIN live l
 WHERE l.namespace = ?1 AND l.id = j.value;

-- name: move_to_done
-- row: (*, *, *, *, *)
WITH v (id, state, how, result, error) AS (VALUES {rows})
INSERT INTO done (namespace, id, type, queue, priority, state, run_at, created_at, attempt, attempt_limit,
                  max_retries, timeout, expires_at, payload, options, schedule_id, workflow_id, step, unique_key,
                  idempotency_key, error, worker_id, claim_id, started_at, finished_at, result, how)
SELECT l.namespace, l.id, l.type, l.queue, l.priority, v.state, l.run_at, l.created_at, l.attempt, l.attempt_limit,
       l.max_retries, l.timeout, l.expires_at, l.payload, l.options, l.schedule_id, l.workflow_id, l.step, l.unique_key,
       l.idempotency_key, v.error, l.worker_id, l.claim_id, l.started_at, ?2, v.result, v.how
  FROM v CROSS JOIN live l
 WHERE l.namespace = ?1 AND l.id = v.id;

-- name: delete_live
DELETE FROM live WHERE namespace = ?1 AND id IN (SELECT value FROM json_each(?2));

-- Waits again: back is the attempt that is given back. It was started in time all the same, and nothing else would tell
-- that from a job that never was.
-- name: wait_again
-- row: (*, *, *, *, *)
WITH v (id, state, run_at, error, back) AS (VALUES {rows})
UPDATE live SET state = v.state, run_at = v.run_at, error = coalesce(v.error, live.error),
                attempt = live.attempt - v.back, expires_at = CASE WHEN v.back THEN NULL ELSE live.expires_at END,
                worker_id = NULL, claim_id = NULL, started_at = NULL,
                deadline = NULL, cancel_requested = 0, cancel_reason = NULL
  FROM v
 WHERE live.namespace = ?1 AND live.id = v.id AND +live.state = 'running';

-- name: insert_attempts
-- row: (?1, *, (SELECT coalesce(max(sequence), 0) + 1 FROM attempts WHERE namespace = ?1 AND job_id = *), *, *, *, ?2, *, *)
INSERT INTO attempts (namespace, job_id, sequence, number, worker_id, started_at, finished_at, outcome, error)
VALUES {rows};

-- name: count_rollups
-- row: (?1, ?2, *, *, *, *, *, *, *)
INSERT INTO rollups (namespace, slot, queue, type, outcome, kind, wait_bucket, run_bucket, count)
VALUES {rows}
ON CONFLICT (namespace, slot, queue, type, outcome, kind, wait_bucket, run_bucket)
DO UPDATE SET count = count + excluded.count;

-- name: last_logs
SELECT json_group_array(json_array(j.value,
           coalesce((SELECT max(sequence) FROM logs WHERE namespace = ?1 AND job_id = j.value), 0)))
  FROM json_each(?2) j;

-- name: insert_logs
-- row: (?1, *, *, *, *, *, *)
INSERT INTO logs (namespace, job_id, sequence, attempt, at, level, text) VALUES {rows};

-- name: keep_progress
-- row: (?1, ?2, *, *, *)
INSERT INTO progress (namespace, heartbeat_at, job_id, progress, checkpoint) VALUES {rows}
ON CONFLICT (namespace, job_id) DO UPDATE SET heartbeat_at = excluded.heartbeat_at,
                                              progress = coalesce(excluded.progress, progress),
                                              checkpoint = coalesce(excluded.checkpoint, checkpoint);

-- name: request_cancel
UPDATE live SET cancel_requested = 1, cancel_reason = ?3
 WHERE namespace = ?1 AND id IN (SELECT value FROM json_each(?2)) AND +state = 'running';
