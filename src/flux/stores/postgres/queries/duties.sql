-- Statements of the leader's duties.

-- name: clock
SELECT coalesce(@now::bigint, flux.clock()) AS now;

-- Who leads is changed only when no write of his is under way: those hold the row until their commit.
-- name: lock_leader
SELECT holder, epoch, lease_until, coalesce(@now::bigint, flux.clock()) AS now
  FROM flux.leader WHERE namespace = @namespace FOR UPDATE;

-- name: renew_leader
WITH clock AS MATERIALIZED (SELECT coalesce(@now::bigint, flux.clock()) AS now)
UPDATE flux.leader l SET lease_until = c.now + @lease::bigint FROM clock c
 WHERE l.namespace = @namespace AND l.holder = @holder AND l.lease_until > c.now
RETURNING l.epoch;

-- name: first_leader
INSERT INTO flux.leader (namespace, holder, epoch, lease_until) VALUES (@namespace, NULL, 0, 0) ON CONFLICT DO NOTHING;

-- name: write_leader
UPDATE flux.leader SET holder = @holder, epoch = @epoch, lease_until = @lease_until WHERE namespace = @namespace;

-- The next epoch, so that whatever the old leader still has under way is refused.
-- name: resign
UPDATE flux.leader SET holder = NULL, epoch = epoch + 1, lease_until = 0 WHERE namespace = @namespace AND holder = @holder;

-- name: read_epoch
SELECT coalesce(@now::bigint, flux.clock()) AS now, (SELECT epoch FROM flux.leader WHERE namespace = @namespace) AS epoch;

-- Before the commit of what was written: nobody else leads until then.
-- name: hold_epoch
SELECT epoch FROM flux.leader WHERE namespace = @namespace AND epoch = @epoch FOR KEY SHARE;

-- A deadline that has passed is not named again: what it waits for is its grace. A lost worker's jobs are due now.
-- name: next_due
WITH clock AS MATERIALIZED (SELECT coalesce(@now::bigint, flux.clock()) AS now)
SELECT min(at) FROM (
    SELECT min(run_at) AS at FROM flux.live WHERE namespace = @namespace AND state IN ('scheduled', 'retrying')
    UNION ALL
    SELECT min(expires_at) FROM flux.live WHERE namespace = @namespace AND expires_at IS NOT NULL AND attempt = 0
    UNION ALL
    SELECT min(deadline) FROM flux.live
     WHERE namespace = @namespace AND state = 'running' AND deadline IS NOT NULL AND deadline > (SELECT now FROM clock)
    UNION ALL
    SELECT min(lease_until) FROM flux.workers WHERE namespace = @namespace AND lease_until > (SELECT now FROM clock)
    UNION ALL
    SELECT now FROM clock WHERE EXISTS (
        SELECT 1 FROM flux.live l
         WHERE l.namespace = @namespace AND l.state = 'running'
           AND NOT EXISTS (SELECT 1 FROM flux.workers w
                            WHERE w.namespace = @namespace AND w.id = l.worker_id AND w.lease_until > (SELECT now FROM clock)))
    UNION ALL
    SELECT min(s.next_fire_at) FROM flux.schedules s
     WHERE s.namespace = @namespace AND NOT s.paused
       AND NOT EXISTS (SELECT 1 FROM flux.live l
                        WHERE l.namespace = @namespace AND l.id = s.next_job_id AND l.state || '' = 'scheduled'
                          AND l.attempt = 0 AND l.run_at <= s.next_fire_at + s.jitter)) due;

-- What is due, oldest first: since when, and for an occurrence that no attempt was made of yet its fire time.
-- name: lock_due
SELECT l.id, l.type, l.queue, l.run_at, greatest(l.run_at, l.created_at) AS since, l.schedule_id,
       CASE WHEN l.schedule_id IS NOT NULL AND l.state = 'scheduled' AND l.attempt = 0
             AND NOT EXISTS (SELECT 1 FROM flux.attempts a WHERE a.namespace = @namespace AND a.job_id = l.id)
            THEN l.fire_at END AS fire_at
  FROM flux.live l
 WHERE l.namespace = @namespace AND l.state IN ('scheduled', 'retrying') AND l.run_at <= @now::bigint
 ORDER BY l.run_at, l.id LIMIT @limit FOR UPDATE SKIP LOCKED;

-- name: promote
UPDATE flux.live l SET state = 'available'
 WHERE l.namespace = @namespace AND l.id = ANY (ARRAY(SELECT unnest(@ids::uuid[]))) AND l.state || '' IN ('scheduled', 'retrying');

-- Earlier occurrences that are under way: not those that still wait for their first start.
-- name: previous_occurrences
SELECT l.id FROM flux.live l
 WHERE l.namespace = @namespace AND l.schedule_id = @schedule_id AND l.id IS DISTINCT FROM @id::uuid
   AND (l.state IN ('available', 'running', 'retrying') OR l.attempt > 0
        OR EXISTS (SELECT 1 FROM flux.attempts a WHERE a.namespace = @namespace AND a.job_id = l.id));

-- Not of one that is paused, as when its plan has just failed: nothing follows.
-- name: schedule_fired
UPDATE flux.schedules SET next_job_id = @job_id, next_fire_at = @next_fire_at,
                          last_fire_at = greatest(coalesce(last_fire_at, @fire_at::bigint), @fire_at::bigint)
 WHERE namespace = @namespace AND id = @id AND NOT paused;

-- name: park_schedule
UPDATE flux.schedules SET paused = true, note = @note, next_job_id = NULL, next_fire_at = NULL, version = version + 1,
                          updated_at = @now::bigint
 WHERE namespace = @namespace AND id = @id;

-- A schedule whose next occurrence does not wait for its time any more goes on by itself: somebody cancelled it, or
-- cancelled and retried it, or put it off beyond what jitter does; or its fire time had one of old. next_due names it.
-- name: stalled_schedules
SELECT s.id FROM flux.schedules s
 WHERE s.namespace = @namespace AND NOT s.paused AND s.next_fire_at <= @now::bigint
   AND NOT EXISTS (SELECT 1 FROM flux.live l
                    WHERE l.namespace = @namespace AND l.id = s.next_job_id AND l.state || '' = 'scheduled'
                      AND l.attempt = 0 AND l.run_at <= s.next_fire_at + s.jitter);

-- name: lock_expired
SELECT id FROM flux.live
 WHERE namespace = @namespace AND expires_at IS NOT NULL AND attempt = 0 AND expires_at <= @now::bigint
 ORDER BY expires_at LIMIT @limit FOR UPDATE SKIP LOCKED;

-- Seen in the future: the clock was set back since. Each has one lease from now, which who lives renews.
-- name: pull_leases_back
UPDATE flux.workers SET lease_until = @now::bigint + greatest(0, lease_until - seen_at), seen_at = @now::bigint
 WHERE namespace = @namespace AND lease_until > @now::bigint AND seen_at > @now::bigint + 1000000;

-- Running jobs without a live worker, and those whose time and grace are over. The index is as long as what runs.
-- name: lost
SELECT l.id, w.id IS NULL AS lost, l.worker_id
  FROM flux.live l LEFT JOIN flux.workers w
       ON w.namespace = @namespace AND w.id = l.worker_id AND w.lease_until > @now::bigint
 WHERE l.namespace = @namespace AND l.state = 'running'
   AND (w.id IS NULL OR l.deadline + @grace::bigint < @now::bigint)
 LIMIT @limit;

-- From here on no claim can land under them until the sweep is over.
-- name: lock_lapsed
SELECT id FROM flux.workers
 WHERE namespace = @namespace AND id = ANY (@ids::text[]) AND lease_until <= @now::bigint ORDER BY id FOR UPDATE;

-- name: living_workers
SELECT queues, types FROM flux.workers
 WHERE namespace = @namespace AND lease_until > coalesce(@now::bigint, flux.clock());

-- Since when the first of a lane wait.
-- name: available_since
SELECT min(j.run_at) FROM (
    SELECT run_at FROM flux.live
     WHERE namespace = @namespace AND state = 'available' AND (queue, priority, type) >= (@queue, @priority::smallint, @type)
       AND (queue, priority, type) <= (@queue, @priority::smallint, @type)
     ORDER BY queue, priority, type, id LIMIT 1000) j;

-- name: lock_of_type
SELECT l.id FROM generate_series(1, 10) AS p (priority) CROSS JOIN LATERAL (
    SELECT id FROM flux.live
     WHERE namespace = @namespace AND state = 'available'
       AND (queue, priority, type) >= (@queue, p.priority, @type) AND (queue, priority, type) <= (@queue, p.priority, @type)
       AND run_at <= @before::bigint
     ORDER BY queue, priority, type, id LIMIT @limit FOR UPDATE SKIP LOCKED) l
 LIMIT @limit;

-- name: lanes
WITH RECURSIVE lanes (queue, priority) AS (
    (SELECT l.queue, l.priority FROM flux.live l
      WHERE l.namespace = @namespace AND l.state = 'available' ORDER BY l.queue DESC, l.priority DESC LIMIT 1)
    UNION ALL
    SELECT n.* FROM lanes e CROSS JOIN LATERAL (
        SELECT l.queue, l.priority FROM flux.live l
         WHERE l.namespace = @namespace AND l.state = 'available' AND (l.queue, l.priority) < (e.queue, e.priority)
         ORDER BY l.queue DESC, l.priority DESC LIMIT 1) n
)
SELECT k.queue, k.priority FROM lanes k
 WHERE NOT EXISTS (SELECT 1 FROM flux.queues q WHERE q.namespace = @namespace AND q.name = k.queue AND q.paused)
 ORDER BY k.queue, k.priority DESC;

-- The oldest of a lane over all its types, which are found by jumping.
-- name: offerable
WITH RECURSIVE kinds (type) AS (
    (SELECT l.type FROM flux.live l
      WHERE l.namespace = @namespace AND l.state = 'available' AND l.queue = @queue AND l.priority = @priority::smallint
      ORDER BY l.type DESC LIMIT 1)
    UNION ALL
    SELECT n.type FROM kinds k CROSS JOIN LATERAL (
        SELECT l.type FROM flux.live l
         WHERE l.namespace = @namespace AND l.state = 'available' AND l.queue = @queue AND l.priority = @priority::smallint
           AND l.type < k.type
         ORDER BY l.type DESC LIMIT 1) n
)
SELECT o.id FROM kinds k CROSS JOIN LATERAL (
    SELECT l.id FROM flux.live l
     WHERE l.namespace = @namespace AND l.state = 'available'
       AND (l.queue, l.priority, l.type, l.id) > (@queue, @priority::smallint, k.type, @after::uuid)
       AND (l.queue, l.priority, l.type) <= (@queue, @priority::smallint, k.type)
       AND (l.expires_at IS NULL OR l.attempt > 0 OR l.expires_at > coalesce(@now::bigint, flux.clock()))
     ORDER BY l.queue, l.priority, l.type, l.id LIMIT @limit) o
 ORDER BY o.id LIMIT @limit;

-- Depth by queue and state, from indexes alone.
-- name: depth_available
SELECT count(*) FROM flux.live WHERE namespace = @namespace AND state = 'available' AND queue = @queue;

-- name: depth_others
SELECT queue, state, count(*) AS depth FROM flux.live
 WHERE namespace = @namespace AND state IN ('scheduled', 'retrying') GROUP BY queue, state
UNION ALL
SELECT queue, 'running', count(*) FROM flux.live WHERE namespace = @namespace AND state = 'running' GROUP BY queue;

-- The first of each lane has waited longest in it.
-- name: oldest_available
SELECT greatest(run_at, created_at) FROM flux.live
 WHERE namespace = @namespace AND state = 'available' AND queue = @queue AND priority = @priority::smallint AND type = @type
 ORDER BY id LIMIT 1;

-- When the last sample was, and how much work it was: what is due later takes eight times as long to count.
-- name: last_depth
SELECT slot, sum(CASE WHEN state IN ('scheduled', 'retrying') THEN 8 * depth ELSE depth END)::bigint AS work
  FROM flux.depths
 WHERE namespace = @namespace AND slot = (SELECT max(slot) FROM flux.depths WHERE namespace = @namespace)
 GROUP BY slot;

-- name: queue_names
SELECT name FROM flux.queues WHERE namespace = @namespace;

-- name: clear_depth
DELETE FROM flux.depths WHERE namespace = @namespace AND slot = @slot;

-- name: write_depth
INSERT INTO flux.depths (namespace, slot, queue, state, depth, oldest)
SELECT @namespace, @slot, g.* FROM unnest(@queues::text[], @states::text[], @depths::bigint[], @oldest::bigint[]) AS g;
