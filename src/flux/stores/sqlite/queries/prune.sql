-- Statements of forgetting. ?1 is the namespace everywhere.

-- Jobs of workflows go with them.
-- name: aged
SELECT json_group_array(id) FROM (
    SELECT id FROM done INDEXED BY done_finished
     WHERE namespace = ?1 AND state = ?2 AND finished_at < ?3 AND workflow_id IS NULL ORDER BY finished_at LIMIT ?4);

-- name: count_done
SELECT count(*) - (SELECT count(*) FROM done INDEXED BY done_workflow WHERE namespace = ?1 AND workflow_id IS NOT NULL)
  FROM done WHERE namespace = ?1;

-- name: oldest_of_state
SELECT json_group_array(json_array(finished_at, id)) FROM (
    SELECT finished_at, id FROM done INDEXED BY done_finished
     WHERE namespace = ?1 AND state = ?2 AND workflow_id IS NULL ORDER BY finished_at LIMIT ?3);

-- A key that is held longer than its job remembers how that ended. Keys are found by their job: a duplicate's key is on
-- no job's row.
-- name: remember_states
UPDATE idempotency SET state = (SELECT d.state FROM done d WHERE d.namespace = ?1 AND d.id = idempotency.job_id)
 WHERE namespace = ?1 AND job_id IN (SELECT value FROM json_each(?2)) AND +expires_at > ?3;

-- name: forget_idempotency
DELETE FROM idempotency
 WHERE namespace = ?1 AND job_id IN (SELECT value FROM json_each(?2)) AND +expires_at IS NULL;

-- A period goes on without the job that began it.
-- name: remember_holders
UPDATE uniqueness SET (state, created_at, run_at) = (
        SELECT d.state, d.created_at, d.run_at FROM done d WHERE d.namespace = ?1 AND d.id = uniqueness.job_id)
 WHERE namespace = ?1 AND +expires_at > ?3
   AND key IN (SELECT d.unique_key FROM json_each(?2) j CROSS JOIN done d
                WHERE d.namespace = ?1 AND d.id = j.value AND d.unique_key IS NOT NULL)
   AND job_id IN (SELECT value FROM json_each(?2));

-- name: forget_uniqueness
DELETE FROM uniqueness
 WHERE namespace = ?1 AND +expires_at IS NULL
   AND key IN (SELECT d.unique_key FROM json_each(?2) j CROSS JOIN done d
                WHERE d.namespace = ?1 AND d.id = j.value AND d.unique_key IS NOT NULL)
   AND job_id IN (SELECT value FROM json_each(?2));

-- name: forget_occurrences
DELETE FROM occurrences
 WHERE namespace = ?1
   AND (schedule_id, fire_at) IN (
        SELECT d.schedule_id, json_extract(d.options, '$.fire_at') FROM json_each(?2) j CROSS JOIN done d
         WHERE d.namespace = ?1 AND d.id = j.value AND d.schedule_id IS NOT NULL)
   AND job_id IN (SELECT value FROM json_each(?2));

-- A schedule knows the newest of its jobs that are forgotten (beside max() SQLite takes the others from that row).
-- name: mark_schedules
UPDATE schedules SET forgotten_id = newest.id, forgotten_state = newest.state,
                     forgotten_created_at = newest.created_at, forgotten_run_at = newest.run_at
  FROM (SELECT d.schedule_id, max(d.id) AS id, d.state, d.created_at, d.run_at FROM json_each(?2) j CROSS JOIN done d
         WHERE d.namespace = ?1 AND d.id = j.value AND d.schedule_id IS NOT NULL GROUP BY d.schedule_id) newest
 WHERE schedules.namespace = ?1 AND schedules.id = newest.schedule_id
   AND (schedules.forgotten_id IS NULL OR schedules.forgotten_id < newest.id);

-- name: forget_attempts
DELETE FROM attempts WHERE namespace = ?1 AND job_id IN (SELECT value FROM json_each(?2));

-- name: forget_logs
DELETE FROM logs WHERE namespace = ?1 AND job_id IN (SELECT value FROM json_each(?2));

-- name: forget_progress
DELETE FROM progress WHERE namespace = ?1 AND job_id IN (SELECT value FROM json_each(?2));

-- name: forget_done
DELETE FROM done WHERE namespace = ?1 AND id IN (SELECT value FROM json_each(?2));

-- name: expired_idempotency
DELETE FROM idempotency
 WHERE namespace = ?1
   AND key IN (SELECT key FROM idempotency INDEXED BY idempotency_expiry
                WHERE namespace = ?1 AND expires_at IS NOT NULL AND expires_at <= ?2 LIMIT ?3);

-- name: expired_uniqueness
DELETE FROM uniqueness
 WHERE namespace = ?1
   AND key IN (SELECT key FROM uniqueness INDEXED BY uniqueness_expiry
                WHERE namespace = ?1 AND expires_at IS NOT NULL AND expires_at <= ?2 LIMIT ?3);

-- The last of the oldest events to forget, their number and size: those before an instant, and as many as make so many
-- bytes too many; not more at once than so many rows, nor (but for the last of them) so many bytes.
-- name: old_events
SELECT max(sequence), count(*), max(before + size) FROM (
    SELECT sequence, at, size, sum(size) OVER (ORDER BY sequence) - size AS before
      FROM (SELECT sequence, at, size FROM events ORDER BY sequence LIMIT ?3))
 WHERE before < ?4 AND (at < ?1 OR before < ?2);

-- Sizes stand before the items, so that this reads no overflow page.
-- name: size_of_events
SELECT coalesce(sum(size), 0) FROM events;

-- name: forget_events
DELETE FROM events WHERE sequence <= ?1;

-- name: oldest_rollup
SELECT min(slot) FROM rollups WHERE namespace = ?1;

-- name: forget_rollups
DELETE FROM rollups WHERE namespace = ?1 AND slot < ?2;

-- name: oldest_depth
SELECT min(slot) FROM depths WHERE namespace = ?1;

-- name: forget_depths
DELETE FROM depths WHERE namespace = ?1 AND slot < ?2;

-- name: thin_depths
DELETE FROM depths WHERE namespace = ?1 AND slot >= ?2 AND slot < ?3 AND slot % ?4 <> 0;

-- name: forget_workers
DELETE FROM workers
 WHERE namespace = ?1 AND lease_until < ?2
   AND NOT EXISTS (SELECT 1 FROM live INDEXED BY live_running
                    WHERE namespace = ?1 AND state = 'running' AND worker_id = workers.id);
