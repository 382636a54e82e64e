-- Statements of people's verbs. ?1 is the namespace everywhere.

-- name: read_done_states
SELECT json_group_array(json_array(d.id, d.state))
  FROM json_each(?2) j CROSS JOIN done d
 WHERE d.namespace = ?1 AND d.id = j.value;

-- A finished job and, where it has a unique key, whoever else holds that now: only then may it not come back.
-- name: read_retryable
SELECT json_group_array(json_array(d.id, d.state, d.type, d.queue, d.workflow_id, d.unique_key,
           (SELECT u.job_id FROM uniqueness u
              LEFT JOIN live l ON l.namespace = ?1 AND l.id = u.job_id
              LEFT JOIN done o ON o.namespace = ?1 AND o.id = u.job_id
             WHERE u.namespace = ?1 AND u.key = d.unique_key AND u.job_id <> d.id
               AND (u.expires_at IS NULL OR u.expires_at > ?3)
               AND instr(u.states, '"' || coalesce(l.state, o.state, u.state) || '"') > 0)))
  FROM json_each(?2) j CROSS JOIN done d
 WHERE d.namespace = ?1 AND d.id = j.value;

-- name: keep_last_attempt
INSERT INTO attempts (namespace, job_id, sequence, number, worker_id, started_at, finished_at, outcome, error)
SELECT d.namespace, d.id,
       (SELECT coalesce(max(sequence), 0) + 1 FROM attempts a WHERE a.namespace = ?1 AND a.job_id = d.id),
       d.attempt, d.worker_id, d.started_at, d.finished_at, d.how, d.error
  FROM json_each(?2) j CROSS JOIN done d
 WHERE d.namespace = ?1 AND d.id = j.value AND d.how IS NOT NULL;

-- name: back_to_live
INSERT INTO live (namespace, id, type, queue, priority, state, run_at, created_at, attempt, attempt_limit,
                  max_retries, timeout, expires_at, payload, options, schedule_id, workflow_id, step, unique_key,
                  idempotency_key, error)
SELECT d.namespace, d.id, d.type, d.queue, d.priority, 'available', ?3, d.created_at, d.attempt,
       d.attempt + d.max_retries + 1, d.max_retries, d.timeout, CASE WHEN d.attempt > 0 THEN d.expires_at END,
       d.payload, d.options, d.schedule_id, d.workflow_id, d.step, d.unique_key, d.idempotency_key, d.error
  FROM json_each(?2) j CROSS JOIN done d
 WHERE d.namespace = ?1 AND d.id = j.value;

-- name: delete_done
DELETE FROM done WHERE namespace = ?1 AND id IN (SELECT value FROM json_each(?2));

-- The states that a key asks for are kept where its row still is; a row that was forgotten asks for the usual ones.
-- name: retake_unique
INSERT INTO uniqueness (namespace, key, job_id, states, expires_at)
VALUES (?1, ?2, ?3, '["blocked","scheduled","available","running","retrying"]', NULL)
ON CONFLICT (namespace, key) DO UPDATE SET job_id = excluded.job_id,
    expires_at = CASE WHEN uniqueness.job_id = excluded.job_id THEN uniqueness.expires_at END;

-- name: read_editable
SELECT state, type, queue, run_at, max_retries, attempt_limit, options, timeout, expires_at, payload, priority,
       attempt
  FROM live WHERE namespace = ?1 AND id = ?2;

-- name: edit
UPDATE live SET payload = ?3, queue = ?4, priority = ?5, run_at = ?6, timeout = ?7, max_retries = ?8,
                attempt_limit = ?9, expires_at = ?10, options = ?11, state = ?12
 WHERE namespace = ?1 AND id = ?2;
