-- Short reads for people. None scans a table.

-- name: jobs_of_live
SELECT j.id, j.type, j.queue, j.priority, j.state, j.attempt, j.attempt_limit, j.max_retries, j.created_at, j.run_at,
       j.timeout, j.expires_at, j.started_at, NULL::bigint AS finished_at, j.worker_id, j.error, j.schedule_id,
       j.workflow_id, j.step, j.cancel_requested, j.options, NULL::text AS how, p.progress, p.checkpoint,
       CASE WHEN p.heartbeat_at >= j.started_at THEN p.heartbeat_at END AS heartbeat_at,
       CASE WHEN @full::boolean THEN j.payload END AS payload, NULL::bytea AS result
  FROM flux.live j LEFT JOIN flux.progress p ON p.namespace = j.namespace AND p.job_id = j.id
 WHERE j.namespace = @namespace AND j.id = ANY (@ids::uuid[])
UNION ALL
SELECT j.id, j.type, j.queue, j.priority, j.state, j.attempt, j.attempt_limit, j.max_retries, j.created_at, j.run_at,
       j.timeout, j.expires_at, j.started_at, j.finished_at, j.worker_id, j.error, j.schedule_id, j.workflow_id, j.step,
       false, j.options, j.how, p.progress, p.checkpoint,
       CASE WHEN p.heartbeat_at >= j.started_at THEN p.heartbeat_at END,
       CASE WHEN @full::boolean THEN j.payload END,
       CASE WHEN @full::boolean THEN j.result END
  FROM flux.done j LEFT JOIN flux.progress p ON p.namespace = j.namespace AND p.job_id = j.id
 WHERE j.namespace = @namespace AND j.id = ANY (@ids::uuid[]);

-- name: attempts
SELECT job_id, number, worker_id, started_at, finished_at, outcome, error FROM flux.attempts
 WHERE namespace = @namespace AND job_id = ANY (@ids::uuid[]) ORDER BY job_id, sequence;

-- name: states
SELECT id, state FROM flux.live WHERE namespace = @namespace AND id = ANY (@ids::uuid[])
UNION ALL
SELECT id, state FROM flux.done WHERE namespace = @namespace AND id = ANY (@ids::uuid[]);

-- name: logs
SELECT sequence, attempt, at, level, text FROM flux.logs
 WHERE namespace = @namespace AND job_id = @id AND sequence > @after::bigint ORDER BY sequence LIMIT @limit;

-- name: count_state
SELECT count(*) AS looked_at, count(*) FILTER (WHERE @queue::text IS NULL OR queue = @queue) AS count FROM (
    SELECT queue FROM flux.done WHERE namespace = @namespace AND state = @state LIMIT @limit) found;

-- What runs is counted, since a worker says it only with its heartbeats.
-- name: workers
SELECT w.id, w.host, w.pid, w.version, w.queues, w.types, w.slots, w.started_at, w.seen_at, w.lease_until, w.drain,
       (SELECT count(*) FROM flux.live l
         WHERE l.namespace = @namespace AND l.state = 'running' AND l.worker_id = w.id) AS busy,
       (SELECT json_agg(json_build_array(r.id, r.type, r.queue, r.attempt, r.started_at) ORDER BY r.started_at, r.id)::text
          FROM (SELECT l.id, l.type, l.queue, l.attempt, l.started_at FROM flux.live l
                 WHERE l.namespace = @namespace AND l.state = 'running' AND l.worker_id = w.id
                 ORDER BY l.started_at, l.id LIMIT @running) r) AS running,
       coalesce(@now::bigint, flux.clock()) AS now
  FROM flux.workers w
 WHERE w.namespace = @namespace
   AND (w.lease_until > coalesce(@now::bigint, flux.clock())
        OR w.seen_at > coalesce(@now::bigint, flux.clock()) - 3600000000)
 ORDER BY w.started_at DESC, w.id DESC LIMIT @limit;

-- name: lock_worker
SELECT drain FROM flux.workers
 WHERE namespace = @namespace AND id = @id AND lease_until > @now::bigint FOR NO KEY UPDATE;

-- name: drain
UPDATE flux.workers SET drain = true WHERE namespace = @namespace AND id = @id;

-- name: rollups
SELECT slot - slot % @step::bigint AS start, queue, type, outcome, kind, wait_bucket, run_bucket,
       sum(count)::bigint AS count
  FROM flux.rollups WHERE namespace = @namespace AND slot >= @since::bigint AND slot < @until::bigint
 GROUP BY 1, queue, type, outcome, kind, wait_bucket, run_bucket ORDER BY 1;

-- The distinct slots come by seeking from one to the next, so that a sample of a thousand queues is one step.
-- name: depths
WITH RECURSIVE sample (slot) AS (
    SELECT min(slot) FROM flux.depths WHERE namespace = @namespace AND slot >= @since::bigint
    UNION ALL
    SELECT (SELECT min(d.slot) FROM flux.depths d WHERE d.namespace = @namespace AND d.slot > s.slot)
      FROM sample s WHERE s.slot IS NOT NULL
), last (slot) AS (
    SELECT max(slot) FROM sample WHERE slot IS NOT NULL GROUP BY slot / @step::bigint
)
SELECT d.slot, d.queue, d.state, d.depth
  FROM last CROSS JOIN LATERAL (SELECT * FROM flux.depths d WHERE d.namespace = @namespace AND d.slot = last.slot) d;

-- The key of a schedule finds the occurrence that waits.
-- name: key_holder
SELECT coalesce(s.next_job_id, i.job_id) FROM flux.idempotency i
  LEFT JOIN flux.schedules s ON s.namespace = @namespace AND s.id = i.job_id::text
 WHERE i.namespace = @namespace AND i.key = @key;
