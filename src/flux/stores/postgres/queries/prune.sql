-- Statements of forgetting.

-- Jobs of workflows go with them.
-- name: aged
SELECT id FROM flux.done
 WHERE namespace = @namespace AND state = @state AND finished_at < @before::bigint AND workflow_id IS NULL
 ORDER BY finished_at LIMIT @limit;

-- name: surplus
SELECT greatest(count(*) - @most::bigint - (SELECT count(*) FROM flux.done
                                             WHERE namespace = @namespace AND workflow_id IS NOT NULL), 0)
  FROM flux.done WHERE namespace = @namespace;

-- name: oldest_of_state
SELECT finished_at, id FROM flux.done
 WHERE namespace = @namespace AND state = @state AND workflow_id IS NULL ORDER BY finished_at LIMIT @limit;

-- A key that is held longer than its job remembers how that ended. Keys are found by their job: a duplicate's key is on
-- no job's row.
-- name: remember_states
UPDATE flux.idempotency i SET state = d.state
  FROM flux.done d
 WHERE i.namespace = @namespace AND i.job_id = ANY (@ids::uuid[]) AND i.expires_at > @now::bigint
   AND d.namespace = @namespace AND d.id = i.job_id;

-- name: forget_idempotency
DELETE FROM flux.idempotency WHERE namespace = @namespace AND job_id = ANY (@ids::uuid[]) AND expires_at IS NULL;

-- A period goes on without the job that began it.
-- name: remember_holders
UPDATE flux.uniqueness u SET state = d.state, created_at = d.created_at, run_at = d.run_at
  FROM flux.done d
 WHERE d.namespace = @namespace AND d.id = ANY (@ids::uuid[]) AND d.unique_key IS NOT NULL
   AND u.namespace = @namespace AND u.key = d.unique_key AND u.job_id = d.id AND u.expires_at > @now::bigint;

-- name: forget_uniqueness
DELETE FROM flux.uniqueness u USING flux.done d
 WHERE d.namespace = @namespace AND d.id = ANY (@ids::uuid[]) AND d.unique_key IS NOT NULL
   AND u.namespace = @namespace AND u.key = d.unique_key AND u.job_id = d.id AND u.expires_at IS NULL;

-- name: forget_occurrences
DELETE FROM flux.occurrences o USING flux.done d
 WHERE d.namespace = @namespace AND d.id = ANY (@ids::uuid[]) AND d.schedule_id IS NOT NULL
   AND o.namespace = @namespace AND o.schedule_id = d.schedule_id AND o.fire_at = d.fire_at AND o.job_id = d.id;

-- A schedule knows the newest of its jobs that are forgotten.
-- name: mark_schedules
UPDATE flux.schedules s SET forgotten_id = d.id, forgotten_state = d.state, forgotten_created_at = d.created_at,
                            forgotten_run_at = d.run_at
  FROM (SELECT DISTINCT ON (schedule_id) schedule_id, id, state, created_at, run_at FROM flux.done
         WHERE namespace = @namespace AND id = ANY (@ids::uuid[]) AND schedule_id IS NOT NULL
         ORDER BY schedule_id, id DESC) d
 WHERE s.namespace = @namespace AND s.id = d.schedule_id AND (s.forgotten_id IS NULL OR s.forgotten_id < d.id);

-- name: forget_attempts
DELETE FROM flux.attempts WHERE namespace = @namespace AND job_id = ANY (@ids::uuid[]);

-- name: forget_logs
DELETE FROM flux.logs WHERE namespace = @namespace AND job_id = ANY (@ids::uuid[]);

-- name: forget_progress
DELETE FROM flux.progress WHERE namespace = @namespace AND job_id = ANY (@ids::uuid[]);

-- name: forget_done
DELETE FROM flux.done WHERE namespace = @namespace AND id = ANY (@ids::uuid[]);

-- name: expired_idempotency
DELETE FROM flux.idempotency
 WHERE namespace = @namespace
   AND key IN (SELECT key FROM flux.idempotency
                WHERE namespace = @namespace AND expires_at IS NOT NULL AND expires_at <= @now::bigint LIMIT @limit);

-- name: expired_uniqueness
DELETE FROM flux.uniqueness
 WHERE namespace = @namespace
   AND key IN (SELECT key FROM flux.uniqueness
                WHERE namespace = @namespace AND expires_at IS NOT NULL AND expires_at <= @now::bigint LIMIT @limit);

-- The last of the oldest events to forget, and their number: those before an instant, and as many as make so many bytes too
-- many; not more at once than so many rows.
-- name: old_events
SELECT max(batch) AS last, count(*) AS count FROM (
    SELECT batch, at, sum(size) OVER (ORDER BY batch) - size AS before
      FROM (SELECT batch, at, 100 + 16 * coalesce(cardinality(ids), 0) AS size FROM flux.events
             WHERE namespace = @namespace ORDER BY batch LIMIT @limit) oldest) sized
 WHERE at < @before::bigint OR before < @surplus::bigint;

-- name: surplus_events
SELECT greatest(coalesce(sum(pg_column_size(ids) + 100), 0) - @most::bigint, 0)::bigint FROM flux.events
 WHERE namespace = @namespace;

-- name: forget_events
DELETE FROM flux.events WHERE namespace = @namespace AND batch <= @last;

-- Counts of a time that is over, added up.
-- name: add_up_rollups
WITH old AS (
    DELETE FROM flux.rollups WHERE namespace = @namespace AND slot >= @since::bigint AND slot < @until::bigint RETURNING *
)
INSERT INTO flux.rollups (namespace, slot, queue, type, outcome, kind, wait_bucket, run_bucket, count)
SELECT namespace, slot, queue, type, outcome, kind, wait_bucket, run_bucket, sum(count) FROM old
 GROUP BY namespace, slot, queue, type, outcome, kind, wait_bucket, run_bucket;

-- Slots in which there is something to add up.
-- name: loose_rollups
SELECT min(slot) FROM (
    SELECT slot FROM flux.rollups
     WHERE namespace = @namespace AND slot >= @since::bigint AND slot < @until::bigint
     GROUP BY slot, queue, type, outcome, kind, wait_bucket, run_bucket HAVING count(*) > 1) loose;

-- name: oldest_rollup
SELECT min(slot) FROM flux.rollups WHERE namespace = @namespace;

-- name: forget_rollups
DELETE FROM flux.rollups WHERE namespace = @namespace AND slot < @until::bigint;

-- name: oldest_depth
SELECT min(slot) FROM flux.depths WHERE namespace = @namespace;

-- name: forget_depths
DELETE FROM flux.depths WHERE namespace = @namespace AND slot < @until::bigint;

-- name: thin_depths
DELETE FROM flux.depths
 WHERE namespace = @namespace AND slot >= @since::bigint AND slot < @until::bigint AND slot % @step::bigint <> 0;

-- name: forget_workers
DELETE FROM flux.workers w
 WHERE w.namespace = @namespace AND w.lease_until < @before::bigint
   AND NOT EXISTS (SELECT 1 FROM flux.live l WHERE l.namespace = @namespace AND l.state = 'running' AND l.worker_id = w.id);

-- The partitions of done with their bounds.
-- name: partitions
SELECT c.relname AS name, pg_get_expr(c.relpartbound, c.oid) AS bound
  FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
 WHERE i.inhparent = 'flux.done'::regclass ORDER BY 1;

-- name: in_default
SELECT EXISTS (SELECT 1 FROM flux.done_default WHERE finished_at >= @since::bigint AND finished_at < @until::bigint);
