-- Statements of the leader's duties. ?1 is the namespace everywhere.

-- name: read_leader
SELECT holder, epoch, lease_until FROM leader WHERE namespace = ?1;

-- name: write_leader
INSERT INTO leader (namespace, holder, epoch, lease_until) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (namespace) DO UPDATE SET holder = excluded.holder, epoch = excluded.epoch,
                                      lease_until = excluded.lease_until;

-- The next epoch, so that whatever the old leader still has under way is refused.
-- name: resign
UPDATE leader SET holder = NULL, epoch = epoch + 1, lease_until = 0 WHERE namespace = ?1 AND holder = ?2;

-- A deadline that has passed is not named again: what it waits for is its grace. A lost worker's jobs are due now.
-- name: next_due
SELECT min(at) FROM (
    SELECT min(run_at) AS at FROM live WHERE namespace = ?1 AND state IN ('scheduled', 'retrying')
    UNION ALL
    SELECT min(expires_at) FROM live WHERE namespace = ?1 AND expires_at IS NOT NULL AND attempt = 0
    UNION ALL
    SELECT min(deadline) FROM live INDEXED BY live_running
     WHERE namespace = ?1 AND state = 'running' AND deadline > ?2
    UNION ALL
    SELECT min(lease_until) FROM workers WHERE namespace = ?1 AND lease_until > ?2
    UNION ALL
    SELECT ?2 WHERE EXISTS (
        SELECT 1 FROM live INDEXED BY live_running
         WHERE namespace = ?1 AND state = 'running'
           AND worker_id NOT IN (SELECT id FROM workers WHERE namespace = ?1 AND lease_until > ?2))
    UNION ALL
    SELECT min(s.next_fire_at) FROM schedules s
     WHERE s.namespace = ?1 AND s.paused = 0
       AND NOT EXISTS (
           SELECT 1 FROM live l
            WHERE l.namespace = ?1 AND l.id = s.next_job_id AND +l.state = 'scheduled' AND l.attempt = 0
              AND (l.run_at <= s.next_fire_at
                   OR l.run_at <= s.next_fire_at + CASE WHEN json_valid(s.spec)
                                                        THEN coalesce(json_extract(s.spec, '$.jitter'), 0) END)));

-- What is due, oldest first: id, type, queue, run_at, since when it is due, and for an occurrence that no attempt was
-- made of yet its schedule and fire time.
-- name: due
SELECT json_group_array(json_array(l.id, l.type, l.queue, l.run_at, max(l.run_at, l.created_at), l.schedule_id,
           CASE WHEN l.schedule_id IS NOT NULL AND l.state = 'scheduled' AND l.attempt = 0
                 AND NOT EXISTS (SELECT 1 FROM attempts a WHERE a.namespace = ?1 AND a.job_id = l.id)
                THEN json_extract(l.options, '$.fire_at') END))
  FROM (SELECT id FROM live INDEXED BY live_due
         WHERE namespace = ?1 AND state IN ('scheduled', 'retrying') AND run_at <= ?2
         ORDER BY run_at, id LIMIT ?3) j
 CROSS JOIN live l
 WHERE l.namespace = ?1 AND l.id = j.id;

-- name: promote
UPDATE live SET state = 'available'
 WHERE namespace = ?1 AND id IN (SELECT value FROM json_each(?2)) AND +state IN ('scheduled', 'retrying');

-- Earlier occurrences that are under way: not those that still wait for their first start.
-- name: previous_occurrences
SELECT json_group_array(l.id) FROM live l INDEXED BY live_schedule
 WHERE l.namespace = ?1 AND l.schedule_id = ?2 AND l.id <> ?3
   AND (l.state IN ('available', 'running', 'retrying')
        OR l.attempt > 0
        OR EXISTS (SELECT 1 FROM attempts a WHERE a.namespace = ?1 AND a.job_id = l.id));

-- Not of one that is paused, as when its plan has just failed: nothing follows.
-- name: schedule_fired
UPDATE schedules SET next_job_id = ?3, next_fire_at = ?4, last_fire_at = max(coalesce(last_fire_at, ?5), ?5)
 WHERE namespace = ?1 AND id = ?2 AND paused = 0;

-- name: park_schedule
UPDATE schedules SET paused = 1, note = ?3, next_job_id = NULL, next_fire_at = NULL, version = version + 1,
                     updated_at = ?4
 WHERE namespace = ?1 AND id = ?2;

-- A schedule whose next occurrence does not wait for its time any more goes on by itself: somebody cancelled it, or
-- cancelled and retried it, or put it off beyond what jitter does; or its fire time had one of old. next_due names it.
-- name: stalled_schedules
SELECT json_group_array(s.id) FROM schedules s
 WHERE s.namespace = ?1 AND s.paused = 0 AND s.next_fire_at <= ?2
   AND NOT EXISTS (
           SELECT 1 FROM live l
            WHERE l.namespace = ?1 AND l.id = s.next_job_id AND +l.state = 'scheduled' AND l.attempt = 0
              AND (l.run_at <= s.next_fire_at
                   OR l.run_at <= s.next_fire_at + CASE WHEN json_valid(s.spec)
                                                        THEN coalesce(json_extract(s.spec, '$.jitter'), 0) END));

-- name: expired
SELECT json_group_array(id) FROM (
    SELECT id FROM live INDEXED BY live_expiring
     WHERE namespace = ?1 AND expires_at IS NOT NULL AND attempt = 0 AND expires_at <= ?2
     ORDER BY expires_at LIMIT ?3);

-- Seen in the future: the clock was set back since. Each has one lease from now, which who lives renews.
-- name: pull_leases_back
UPDATE workers SET lease_until = ?2 + max(0, lease_until - seen_at), seen_at = ?2
 WHERE namespace = ?1 AND lease_until > ?2 AND seen_at > ?2 + 1000000;

-- Running jobs without a live worker, and those whose time and grace are over. The index is as long as what runs.
-- name: lost
SELECT json_group_array(json_array(id, worker_id NOT IN (SELECT id FROM workers
                                                          WHERE namespace = ?1 AND lease_until > ?2)))
  FROM (SELECT id, worker_id FROM live INDEXED BY live_running
         WHERE namespace = ?1 AND state = 'running'
           AND (worker_id NOT IN (SELECT id FROM workers WHERE namespace = ?1 AND lease_until > ?2)
                OR deadline + ?3 < ?2)
         LIMIT ?4);

-- name: living_workers
SELECT json_group_array(json_array(queues, json(types))) FROM workers WHERE namespace = ?1 AND lease_until > ?2;

-- The lanes of queues that are not paused, found by jumping as a claim does.
-- name: lanes
WITH RECURSIVE found (queue) AS (
    SELECT min(queue) FROM live WHERE namespace = ?1 AND state = 'available'
    UNION ALL
    SELECT (SELECT min(queue) FROM live WHERE namespace = ?1 AND state = 'available' AND queue > found.queue)
      FROM found WHERE found.queue IS NOT NULL
), lanes (queue, priority) AS (
    SELECT f.queue, (SELECT max(priority) FROM live WHERE namespace = ?1 AND state = 'available' AND queue = f.queue)
      FROM found f LEFT JOIN queues q ON q.namespace = ?1 AND q.name = f.queue
     WHERE f.queue IS NOT NULL AND coalesce(q.paused, 0) = 0
    UNION ALL
    SELECT queue, (SELECT max(priority) FROM live
                    WHERE namespace = ?1 AND state = 'available' AND queue = lanes.queue
                      AND priority < lanes.priority)
      FROM lanes WHERE priority IS NOT NULL
)
SELECT json_group_array(json_array(queue, priority)) FROM lanes WHERE priority IS NOT NULL;

-- Since when the first of a lane wait.
-- name: available_since
SELECT min(l.run_at)
  FROM (SELECT id FROM live INDEXED BY live_available
         WHERE namespace = ?1 AND state = 'available' AND queue = ?2 AND priority = ?3 AND type = ?4
         ORDER BY id LIMIT 1000) j
 CROSS JOIN live l
 WHERE l.namespace = ?1 AND l.id = j.id;

-- name: of_type
SELECT json_group_array(id) FROM (
    SELECT l.id FROM (SELECT id FROM live INDEXED BY live_available
                       WHERE namespace = ?1 AND state = 'available' AND queue = ?2 AND type = ?3
                         AND priority IN (1, 2, 3, 4, 5, 6, 7, 8, 9, 10)) j
     CROSS JOIN live l
     WHERE l.namespace = ?1 AND l.id = j.id AND l.run_at <= ?4
     LIMIT ?5);

-- Depth by queue and state, from indexes alone. Counting one queue is half the work of counting them in groups.
-- name: depth_available
SELECT count(*) FROM live INDEXED BY live_available
 WHERE namespace = ?1 AND state = 'available' AND queue = ?2;

-- name: depth_due
SELECT json_group_array(json_array(queue, state, n)) FROM (
    SELECT queue, state, count(*) AS n FROM live INDEXED BY live_due
     WHERE namespace = ?1 AND state IN ('scheduled', 'retrying') GROUP BY queue, state);

-- name: depth_running
SELECT json_group_array(json_array(queue, n)) FROM (
    SELECT queue, count(*) AS n FROM live INDEXED BY live_running
     WHERE namespace = ?1 AND state = 'running' GROUP BY queue);

-- The first of each lane has waited longest in it, since it was due; a run_at may lie before the job itself.
-- name: oldest_available
SELECT max(l.run_at, l.created_at) FROM live l
 WHERE l.namespace = ?1 AND l.id = (
    SELECT id FROM live INDEXED BY live_available
     WHERE namespace = ?1 AND state = 'available' AND queue = ?2 AND priority = ?3 AND type = ?4
     ORDER BY id LIMIT 1);

-- When the last sample was, and how much work it was: what is due later takes eight times as long to count.
-- name: last_depth
SELECT slot, sum(CASE WHEN state IN ('scheduled', 'retrying') THEN 8 * depth ELSE depth END) FROM depths
 WHERE namespace = ?1 AND slot = (SELECT max(slot) FROM depths WHERE namespace = ?1) GROUP BY slot;

-- name: clear_depth
DELETE FROM depths WHERE namespace = ?1 AND slot = ?2;

-- name: write_depth
-- row: (?1, ?2, *, *, *, *)
INSERT INTO depths (namespace, slot, queue, state, depth, oldest) VALUES {rows};
