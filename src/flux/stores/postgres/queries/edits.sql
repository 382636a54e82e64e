-- Statements of people's verbs.

-- name: read_done_states
SELECT id, state FROM flux.done WHERE namespace = @namespace AND id = ANY (@ids::uuid[]);

-- The keys that retried jobs want back: they are locked before the jobs are.
-- name: wanted_keys
SELECT DISTINCT 'u ' || unique_key AS key FROM flux.done
 WHERE namespace = @namespace AND id = ANY (@ids::uuid[]) AND unique_key IS NOT NULL;

-- name: lock_done
SELECT id FROM flux.done WHERE namespace = @namespace AND id = ANY (@ids::uuid[]) ORDER BY id FOR UPDATE;

-- A finished job and, where it has a unique key, whoever else holds that now: only then may it not come back.
-- name: read_retryable
SELECT d.id, d.state, d.type, d.queue, d.workflow_id, d.unique_key,
       (SELECT u.job_id FROM flux.uniqueness u
          LEFT JOIN flux.live l ON l.namespace = @namespace AND l.id = u.job_id
          LEFT JOIN LATERAL (SELECT o.state FROM flux.done o
                              WHERE o.namespace = @namespace AND o.id = u.job_id LIMIT 1) o ON true
         WHERE u.namespace = @namespace AND u.key = d.unique_key AND u.job_id <> d.id
           AND (u.expires_at IS NULL OR u.expires_at > @now::bigint)
           AND coalesce(l.state, o.state, u.state) = ANY (u.states)) AS holder
  FROM flux.done d
 WHERE d.namespace = @namespace AND d.id = ANY (@ids::uuid[]);

-- name: keep_last_attempt
INSERT INTO flux.attempts (namespace, job_id, number, worker_id, started_at, finished_at, outcome, error)
SELECT d.namespace, d.id, d.attempt, d.worker_id, d.started_at, d.finished_at, d.how, d.error
  FROM flux.done d
 WHERE d.namespace = @namespace AND d.id = ANY (@ids::uuid[]) AND d.how IS NOT NULL;

-- name: back_to_live
WITH back AS (DELETE FROM flux.done d WHERE d.namespace = @namespace AND d.id = ANY (@ids::uuid[]) RETURNING d.*)
INSERT INTO flux.live (namespace, id, type, queue, priority, state, run_at, created_at, attempt, attempt_limit, max_retries,
                       timeout, expires_at, payload, options, fire_at, schedule_id, workflow_id, step, unique_key,
                       idempotency_key, error)
SELECT d.namespace, d.id, d.type, d.queue, d.priority, 'available', @now::bigint, d.created_at, d.attempt,
       d.attempt + d.max_retries + 1, d.max_retries, d.timeout, CASE WHEN d.attempt > 0 THEN d.expires_at END, d.payload,
       d.options, d.fire_at, d.schedule_id, d.workflow_id, d.step, d.unique_key, d.idempotency_key, d.error
  FROM back d;

-- The states that a key asks for are kept where its row still is; a row that was forgotten asks for the usual ones. Nothing is
-- kept where another job holds the key by now: a caller's own transaction takes no lock, and may have committed it since.
-- name: retake_unique
INSERT INTO flux.uniqueness AS u (namespace, key, job_id, states)
SELECT @namespace, g.key, g.job_id, '{blocked,scheduled,available,running,retrying}'
  FROM unnest(@keys::text[], @ids::uuid[]) AS g (key, job_id) ORDER BY g.key
ON CONFLICT (namespace, key) DO UPDATE SET job_id = excluded.job_id,
    expires_at = CASE WHEN u.job_id = excluded.job_id THEN u.expires_at END,
    states = CASE WHEN u.states = '{}' THEN excluded.states ELSE u.states END
 WHERE u.job_id = excluded.job_id OR u.expires_at <= @now::bigint
    OR coalesce(flux.state_of(@namespace, u.job_id), u.state, '') <> ALL (u.states);

-- name: lock_editable
SELECT state, type, queue, run_at, max_retries, attempt_limit, options, timeout, expires_at, payload, priority, attempt
  FROM flux.live WHERE namespace = @namespace AND id = @id FOR UPDATE;

-- name: edit
UPDATE flux.live SET payload = @payload, queue = @queue, priority = @priority, run_at = @run_at, timeout = @timeout,
                     max_retries = @max_retries, attempt_limit = @attempt_limit, expires_at = @expires_at,
                     options = @options, state = @state
 WHERE namespace = @namespace AND id = @id;
