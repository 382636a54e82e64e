-- Statements of a claim. ?1 is the namespace everywhere. A lane is (queue, priority, type); lanes are found by jumping
-- from one to the next in live_available, so that a backlog of a million costs no more than one of ten, whosever it is.

-- name: lanes_everywhere
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
), kinds (queue, priority, type) AS (
    SELECT queue, priority, (SELECT min(type) FROM live
                              WHERE namespace = ?1 AND state = 'available' AND queue = lanes.queue
                                AND priority = lanes.priority)
      FROM lanes WHERE priority IS NOT NULL
    UNION ALL
    SELECT queue, priority, (SELECT min(type) FROM live
                              WHERE namespace = ?1 AND state = 'available' AND queue = kinds.queue
                                AND priority = kinds.priority AND type > kinds.type)
      FROM kinds WHERE type IS NOT NULL
)
SELECT (SELECT lease_until FROM workers WHERE namespace = ?1 AND id = ?2),
       (SELECT json_group_array(json_array(queue, priority, type)) FROM kinds WHERE type IS NOT NULL);

-- name: lanes_named
WITH RECURSIVE lanes (queue, priority) AS (
    SELECT f.value, (SELECT max(priority) FROM live WHERE namespace = ?1 AND state = 'available' AND queue = f.value)
      FROM json_each(?3) f LEFT JOIN queues q ON q.namespace = ?1 AND q.name = f.value
     WHERE coalesce(q.paused, 0) = 0
    UNION ALL
    SELECT queue, (SELECT max(priority) FROM live
                    WHERE namespace = ?1 AND state = 'available' AND queue = lanes.queue
                      AND priority < lanes.priority)
      FROM lanes WHERE priority IS NOT NULL
), kinds (queue, priority, type) AS (
    SELECT queue, priority, (SELECT min(type) FROM live
                              WHERE namespace = ?1 AND state = 'available' AND queue = lanes.queue
                                AND priority = lanes.priority)
      FROM lanes WHERE priority IS NOT NULL
    UNION ALL
    SELECT queue, priority, (SELECT min(type) FROM live
                              WHERE namespace = ?1 AND state = 'available' AND queue = kinds.queue
                                AND priority = kinds.priority AND type > kinds.type)
      FROM kinds WHERE type IS NOT NULL
)
SELECT (SELECT lease_until FROM workers WHERE namespace = ?1 AND id = ?2),
       (SELECT json_group_array(json_array(queue, priority, type)) FROM kinds WHERE type IS NOT NULL);

-- name: oldest_of_lane
SELECT json_group_array(id) FROM (
    SELECT id FROM live INDEXED BY live_available
     WHERE namespace = ?1 AND state = 'available' AND queue = ?2 AND priority = ?3 AND type = ?4 AND id > ?5
       AND (expires_at IS NULL OR expires_at > ?6 OR attempt > 0)
     ORDER BY id LIMIT ?7);

-- The same of several lanes of one priority, in their order: ?3 is a list of [queue, type].
-- name: oldest_of_lanes
SELECT json_group_array(json((
    SELECT json_group_array(id) FROM (
        SELECT id FROM live INDEXED BY live_available
         WHERE namespace = ?1 AND state = 'available' AND queue = json_extract(j.value, '$[0]') AND priority = ?2
           AND type = json_extract(j.value, '$[1]') AND (expires_at IS NULL OR expires_at > ?4 OR attempt > 0)
         ORDER BY id LIMIT ?5))))
  FROM json_each(?3) j;

-- name: hinted
SELECT (SELECT lease_until FROM workers WHERE namespace = ?1 AND id = ?2),
       (SELECT json_group_array(json_array(l.priority, l.id, l.queue))
          FROM json_each(?3) h CROSS JOIN live l
          LEFT JOIN queues q ON q.namespace = ?1 AND q.name = l.queue
         WHERE l.namespace = ?1 AND l.id = h.value AND +l.state = 'available' AND coalesce(q.paused, 0) = 0
           AND l.type IN (SELECT value FROM json_each(?4))
           AND (l.expires_at IS NULL OR l.expires_at > ?5 OR l.attempt > 0));

-- What the handlers need, in the order of the ids, in the order of ClaimedJob's fields. Documents longer than ?5 are
-- read by themselves: all in one text could be more than SQLite (or the worker) can hold.
-- name: read_claimed
SELECT json_group_array(json_array(l.id, ?3, l.type, l.queue, l.priority,
           CASE WHEN length(l.payload) <= ?5 THEN l.payload ELSE '' END, l.attempt + 1, l.attempt_limit,
           l.timeout, l.options, l.created_at, l.run_at, ?4, l.schedule_id, l.workflow_id, l.step,
           CASE WHEN length(p.checkpoint) <= ?5 THEN p.checkpoint WHEN p.checkpoint IS NOT NULL THEN '' END))
  FROM json_each(?2) j CROSS JOIN live l
  LEFT JOIN progress p ON p.namespace = ?1 AND p.job_id = l.id
 WHERE l.namespace = ?1 AND l.id = j.value;

-- name: size_of_claimed
SELECT length(l.payload) + coalesce(length(p.checkpoint), 0)
  FROM live l LEFT JOIN progress p ON p.namespace = ?1 AND p.job_id = l.id
 WHERE l.namespace = ?1 AND l.id = ?2;

-- name: read_documents
SELECT l.payload, p.checkpoint
  FROM live l LEFT JOIN progress p ON p.namespace = ?1 AND p.job_id = l.id
 WHERE l.namespace = ?1 AND l.id = ?2;

-- name: mark_running
UPDATE live SET state = 'running', attempt = attempt + 1, worker_id = ?3, claim_id = ?4, started_at = ?5,
                deadline = ?5 + timeout
 WHERE namespace = ?1 AND id IN (SELECT value FROM json_each(?2)) AND +state = 'available';

-- All lanes, those of paused queues too.
-- name: all_lanes
WITH RECURSIVE found (queue) AS (
    SELECT min(queue) FROM live WHERE namespace = ?1 AND state = 'available'
    UNION ALL
    SELECT (SELECT min(queue) FROM live WHERE namespace = ?1 AND state = 'available' AND queue > found.queue)
      FROM found WHERE found.queue IS NOT NULL
), lanes (queue, priority) AS (
    SELECT queue, (SELECT max(priority) FROM live
                    WHERE namespace = ?1 AND state = 'available' AND queue = found.queue)
      FROM found WHERE queue IS NOT NULL
    UNION ALL
    SELECT queue, (SELECT max(priority) FROM live
                    WHERE namespace = ?1 AND state = 'available' AND queue = lanes.queue
                      AND priority < lanes.priority)
      FROM lanes WHERE priority IS NOT NULL
), kinds (queue, priority, type) AS (
    SELECT queue, priority, (SELECT min(type) FROM live
                              WHERE namespace = ?1 AND state = 'available' AND queue = lanes.queue
                                AND priority = lanes.priority)
      FROM lanes WHERE priority IS NOT NULL
    UNION ALL
    SELECT queue, priority, (SELECT min(type) FROM live
                              WHERE namespace = ?1 AND state = 'available' AND queue = kinds.queue
                                AND priority = kinds.priority AND type > kinds.type)
      FROM kinds WHERE type IS NOT NULL
)
SELECT json_group_array(json_array(queue, priority, type)) FROM kinds WHERE type IS NOT NULL;

-- What runs under a worker.
-- name: held
SELECT json_group_array(json_array(id, claim_id, attempt)) FROM live INDEXED BY live_running
 WHERE namespace = ?1 AND state = 'running' AND worker_id = ?2;

-- The types in a lane of (queue, priority).
-- name: types_of_lane
WITH RECURSIVE kinds (type) AS (
    SELECT min(type) FROM live WHERE namespace = ?1 AND state = 'available' AND queue = ?2 AND priority = ?3
    UNION ALL
    SELECT (SELECT min(type) FROM live
             WHERE namespace = ?1 AND state = 'available' AND queue = ?2 AND priority = ?3 AND type > kinds.type)
      FROM kinds WHERE type IS NOT NULL
)
SELECT json_group_array(type) FROM kinds WHERE type IS NOT NULL;
