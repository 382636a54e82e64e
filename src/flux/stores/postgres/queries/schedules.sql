-- Schedules and queues.

-- name: get_schedule
SELECT * FROM flux.schedules WHERE namespace = @namespace AND name = @name;

-- name: lock_schedule
SELECT * FROM flux.schedules WHERE namespace = @namespace AND name = @name FOR UPDATE;

-- name: lock_schedule_by_id
SELECT * FROM flux.schedules WHERE namespace = @namespace AND id = @id FOR UPDATE;

-- name: list_schedules
SELECT * FROM flux.schedules WHERE namespace = @namespace AND name > @after ORDER BY name LIMIT @limit;

-- name: put_schedule
INSERT INTO flux.schedules (namespace, name, id, spec, jitter, paused, declared, version, created_at, updated_at,
                            next_job_id, next_fire_at, last_fire_at, note)
VALUES (@namespace, @name, @id, @spec, @jitter, @paused, @declared, @version, @created_at, @updated_at, @next_job_id,
        @next_fire_at, @last_fire_at, @note)
ON CONFLICT (namespace, name) DO UPDATE SET
    spec = excluded.spec, jitter = excluded.jitter, paused = excluded.paused, declared = excluded.declared,
    version = excluded.version, updated_at = excluded.updated_at, next_job_id = excluded.next_job_id,
    next_fire_at = excluded.next_fire_at, last_fire_at = excluded.last_fire_at, note = excluded.note;

-- name: delete_schedule
DELETE FROM flux.schedules WHERE namespace = @namespace AND name = @name;

-- Not those that a person or a handler put back to `scheduled` after a first attempt: they have been taken up.
-- name: pending_occurrences
SELECT j.id, o.fire_at FROM flux.live j
  JOIN flux.occurrences o ON o.namespace = @namespace AND o.schedule_id = j.schedule_id AND o.fire_at = j.fire_at
                         AND o.job_id = j.id
 WHERE j.namespace = @namespace AND j.schedule_id = @schedule_id AND j.state = 'scheduled' AND j.attempt = 0
   AND NOT EXISTS (SELECT 1 FROM flux.attempts a WHERE a.namespace = @namespace AND a.job_id = j.id);

-- name: free_fires
DELETE FROM flux.occurrences WHERE namespace = @namespace AND schedule_id = @schedule_id AND job_id = ANY (@ids::uuid[]);

-- name: free_all_fires
DELETE FROM flux.occurrences WHERE namespace = @namespace AND schedule_id = @schedule_id;

-- name: free_keys
DELETE FROM flux.idempotency WHERE namespace = @namespace AND job_id = @schedule_id;

-- name: occurrences
SELECT o.fire_at, o.job_id, coalesce(
           (SELECT l.state FROM flux.live l WHERE l.namespace = @namespace AND l.id = o.job_id),
           (SELECT d.state FROM flux.done d WHERE d.namespace = @namespace AND d.id = o.job_id LIMIT 1), 'pruned') AS state
  FROM flux.occurrences o
 WHERE o.namespace = @namespace AND o.schedule_id = @schedule_id ORDER BY o.fire_at DESC LIMIT @limit;

-- name: lock_queue
SELECT paused, paused_at, paused_by, max_depth FROM flux.queues WHERE namespace = @namespace AND name = @name FOR UPDATE;

-- name: put_queue
UPDATE flux.queues SET paused = @paused, paused_at = @paused_at, paused_by = @paused_by, max_depth = @max_depth
 WHERE namespace = @namespace AND name = @name;

-- name: list_queues
SELECT name, paused, paused_at, paused_by, max_depth FROM flux.queues WHERE namespace = @namespace ORDER BY name LIMIT @most;

-- name: last_depths
SELECT slot, queue, state, depth, oldest FROM flux.depths
 WHERE namespace = @namespace AND slot = (SELECT max(slot) FROM flux.depths WHERE namespace = @namespace);
