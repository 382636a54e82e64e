-- Statements of a claim. What was locked is marked by its place (ctid), which cannot change meanwhile, without looking for
-- it once more; a row that changed between the statement's start and its lock is left to the next claim. Two habits keep the
-- planner on the one right index, whatever it thinks of the table's size: "= ANY (ARRAY(SELECT …))" goes by place or by
-- primary key (a join may be hashed, with a walk through the whole table), and a lane
-- is written as its two bounds, in its index's order (with equalities the order of ids would be had from the primary key,
-- past every job that is claimed already). Each is one round trip: it checks the lease, chooses, locks, marks and tells. The worker's row is
-- locked only when there is something to claim: a lock is a write, and an idle worker must write nothing.

-- By policy: priority, then age. A lane is (queue, priority, type); lanes are found by jumping from one to the next in
-- live_available, from behind, where the index has no entries of jobs that are gone. Levels of priority are gone through
-- one by one and no further than needed. Of a level with several lanes it is first seen how many each of them gives, so
-- that nothing is locked in vain; then each lane gives its oldest that nobody else has locked.
-- name: claim_by_policy
WITH RECURSIVE clock AS MATERIALIZED (
    SELECT coalesce(@now::bigint, flux.clock()) AS now
), alive AS MATERIALIZED (
    SELECT w.id FROM flux.workers w
     WHERE w.namespace = @namespace AND w.id = @worker_id AND w.lease_until > (SELECT now FROM clock)
), everywhere (queue, priority, type) AS (
    (SELECT l.queue, l.priority, l.type FROM flux.live l
      WHERE l.namespace = @namespace AND l.state = 'available' AND @queues::text[] IS NULL
      ORDER BY l.queue DESC, l.priority DESC, l.type DESC LIMIT 1)
    UNION ALL
    SELECT n.* FROM everywhere e CROSS JOIN LATERAL (
        SELECT l.queue, l.priority, l.type FROM flux.live l
         WHERE l.namespace = @namespace AND l.state = 'available'
           AND (l.queue, l.priority, l.type) < (e.queue, e.priority, e.type)
         ORDER BY l.queue DESC, l.priority DESC, l.type DESC LIMIT 1) n
), named (queue, priority, type) AS (
    SELECT n.* FROM unnest(@queues::text[]) AS q (name) CROSS JOIN LATERAL (
        SELECT l.queue, l.priority, l.type FROM flux.live l
         WHERE l.namespace = @namespace AND l.state = 'available' AND l.queue = q.name
         ORDER BY l.priority DESC, l.type DESC LIMIT 1) n
    UNION ALL
    SELECT n.* FROM named e CROSS JOIN LATERAL (
        SELECT l.queue, l.priority, l.type FROM flux.live l
         WHERE l.namespace = @namespace AND l.state = 'available' AND l.queue = e.queue
           AND (l.priority, l.type) < (e.priority, e.type)
         ORDER BY l.priority DESC, l.type DESC LIMIT 1) n
), levels AS MATERIALIZED (
    SELECT k.priority, array_agg(k.queue) AS queues, array_agg(k.type) AS types, count(*) AS lanes
      FROM (SELECT * FROM everywhere UNION ALL SELECT * FROM named) k
     WHERE k.type = ANY (@types::text[]) AND EXISTS (SELECT 1 FROM alive)
       AND NOT EXISTS (SELECT 1 FROM flux.queues q WHERE q.namespace = @namespace AND q.name = k.queue AND q.paused)
     GROUP BY k.priority ORDER BY k.priority * @sign::integer
), chosen AS MATERIALIZED (
    SELECT level.id, level.place, level.size FROM levels v CROSS JOIN LATERAL (
        SELECT job.id, job.place, job.size FROM (
            SELECT v.queues[1] AS queue, v.types[1] AS type, @slots::bigint AS most WHERE v.lanes = 1
            UNION ALL
            SELECT h.queue, h.type, count(*) FROM (
                SELECT s.queue, s.type FROM unnest(v.queues, v.types) AS s (queue, type) CROSS JOIN LATERAL (
                    SELECT l.id FROM flux.live l
                     WHERE l.namespace = @namespace AND l.state = 'available'
                       AND (l.queue, l.priority, l.type) >= (s.queue, v.priority, s.type)
                       AND (l.queue, l.priority, l.type) <= (s.queue, v.priority, s.type)
                       AND (l.expires_at IS NULL OR l.expires_at > (SELECT now FROM clock) OR l.attempt > 0)
                     ORDER BY l.queue, l.priority, l.type, l.id LIMIT @slots) o
                 WHERE v.lanes > 1 ORDER BY o.id LIMIT @slots) h
             GROUP BY h.queue, h.type
        ) lane CROSS JOIN LATERAL (
            SELECT l.id, l.ctid AS place, octet_length(l.payload) AS size FROM flux.live l
             WHERE l.namespace = @namespace AND l.state = 'available'
               AND (l.queue, l.priority, l.type) >= (lane.queue, v.priority, lane.type)
               AND (l.queue, l.priority, l.type) <= (lane.queue, v.priority, lane.type)
               AND (l.expires_at IS NULL OR l.expires_at > (SELECT now FROM clock) OR l.attempt > 0)
             ORDER BY l.queue, l.priority, l.type, l.id LIMIT lane.most FOR UPDATE SKIP LOCKED) job
         ORDER BY job.id
    ) level LIMIT @slots
), taken AS MATERIALIZED (
    SELECT b.place FROM (SELECT c.place, c.size, sum(c.size) OVER (ROWS UNBOUNDED PRECEDING) AS total FROM chosen c) b
     WHERE b.total <= @most_bytes::bigint OR b.total = b.size
), lease AS MATERIALIZED (
    SELECT w.id FROM flux.workers w
     WHERE w.namespace = @namespace AND w.id = @worker_id AND EXISTS (SELECT 1 FROM taken) FOR KEY SHARE
), claimed AS (
    UPDATE flux.live l SET state = 'running', attempt = l.attempt + 1, worker_id = @worker_id, claim_id = @claim_id,
                           started_at = (SELECT now FROM clock), deadline = (SELECT now FROM clock) + l.timeout
     WHERE l.namespace = @namespace AND l.ctid = ANY (ARRAY(SELECT place FROM taken)) AND l.state || '' = 'available'
       AND EXISTS (SELECT 1 FROM lease)
    RETURNING l.id, l.type, l.queue, l.priority, l.payload, l.attempt, l.attempt_limit, l.timeout, l.options, l.created_at,
              l.run_at, l.started_at, l.schedule_id, l.workflow_id, l.step
), told AS (
    INSERT INTO flux.events (namespace, at, subject, state, type, queue, ids)
    SELECT @namespace, min(started_at), 'job', 'running', type, queue, array_agg(id) FROM claimed GROUP BY type, queue
)
SELECT a.id IS NOT NULL AS alive, j.*, p.checkpoint
  FROM clock LEFT JOIN alive a ON true LEFT JOIN claimed j ON true
  LEFT JOIN flux.progress p ON p.namespace = @namespace AND p.job_id = j.id;

-- The same where queues have limits of their own (@limited, @rooms): what each lane gives is settled over all levels.
-- name: claim_within_rooms
WITH RECURSIVE clock AS MATERIALIZED (
    SELECT coalesce(@now::bigint, flux.clock()) AS now
), alive AS MATERIALIZED (
    SELECT w.id FROM flux.workers w
     WHERE w.namespace = @namespace AND w.id = @worker_id AND w.lease_until > (SELECT now FROM clock)
), rooms AS MATERIALIZED (
    SELECT r.queue, r.room FROM unnest(@limited::text[], @rooms::bigint[]) AS r (queue, room)
), everywhere (queue, priority, type) AS (
    (SELECT l.queue, l.priority, l.type FROM flux.live l
      WHERE l.namespace = @namespace AND l.state = 'available' AND @queues::text[] IS NULL
      ORDER BY l.queue DESC, l.priority DESC, l.type DESC LIMIT 1)
    UNION ALL
    SELECT n.* FROM everywhere e CROSS JOIN LATERAL (
        SELECT l.queue, l.priority, l.type FROM flux.live l
         WHERE l.namespace = @namespace AND l.state = 'available'
           AND (l.queue, l.priority, l.type) < (e.queue, e.priority, e.type)
         ORDER BY l.queue DESC, l.priority DESC, l.type DESC LIMIT 1) n
), named (queue, priority, type) AS (
    SELECT n.* FROM unnest(@queues::text[]) AS q (name) CROSS JOIN LATERAL (
        SELECT l.queue, l.priority, l.type FROM flux.live l
         WHERE l.namespace = @namespace AND l.state = 'available' AND l.queue = q.name
         ORDER BY l.priority DESC, l.type DESC LIMIT 1) n
    UNION ALL
    SELECT n.* FROM named e CROSS JOIN LATERAL (
        SELECT l.queue, l.priority, l.type FROM flux.live l
         WHERE l.namespace = @namespace AND l.state = 'available' AND l.queue = e.queue
           AND (l.priority, l.type) < (e.priority, e.type)
         ORDER BY l.priority DESC, l.type DESC LIMIT 1) n
), lanes AS MATERIALIZED (
    SELECT k.queue, k.priority, k.type, least(@slots::bigint, r.room) AS room
      FROM (SELECT * FROM everywhere UNION ALL SELECT * FROM named) k
      LEFT JOIN rooms r ON r.queue = k.queue
     WHERE k.type = ANY (@types::text[]) AND coalesce(r.room, 1) > 0 AND EXISTS (SELECT 1 FROM alive)
       AND NOT EXISTS (SELECT 1 FROM flux.queues q WHERE q.namespace = @namespace AND q.name = k.queue AND q.paused)
), shares AS MATERIALIZED (
    SELECT f.queue, f.priority, f.type, count(*) AS most FROM (
        SELECT h.* FROM (
            SELECT k.*, o.id, row_number() OVER (PARTITION BY k.queue ORDER BY k.priority * @sign::integer, o.id) AS place
              FROM lanes k CROSS JOIN LATERAL (
                SELECT l.id FROM flux.live l
                 WHERE l.namespace = @namespace AND l.state = 'available'
                   AND (l.queue, l.priority, l.type) >= (k.queue, k.priority, k.type)
                   AND (l.queue, l.priority, l.type) <= (k.queue, k.priority, k.type)
                   AND (l.expires_at IS NULL OR l.expires_at > (SELECT now FROM clock) OR l.attempt > 0)
                 ORDER BY l.queue, l.priority, l.type, l.id LIMIT k.room) o) h
         WHERE h.place <= h.room ORDER BY h.priority * @sign::integer, h.id LIMIT @slots) f
     GROUP BY f.queue, f.priority, f.type
), chosen AS MATERIALIZED (
    SELECT job.id, job.place, job.size FROM shares k CROSS JOIN LATERAL (
        SELECT l.id, l.ctid AS place, octet_length(l.payload) AS size FROM flux.live l
         WHERE l.namespace = @namespace AND l.state = 'available'
           AND (l.queue, l.priority, l.type) >= (k.queue, k.priority, k.type)
           AND (l.queue, l.priority, l.type) <= (k.queue, k.priority, k.type)
           AND (l.expires_at IS NULL OR l.expires_at > (SELECT now FROM clock) OR l.attempt > 0)
         ORDER BY l.queue, l.priority, l.type, l.id LIMIT k.most FOR UPDATE SKIP LOCKED) job
     ORDER BY k.priority * @sign::integer, job.id
), taken AS MATERIALIZED (
    SELECT b.place FROM (SELECT c.place, c.size, sum(c.size) OVER (ROWS UNBOUNDED PRECEDING) AS total FROM chosen c) b
     WHERE b.total <= @most_bytes::bigint OR b.total = b.size
), lease AS MATERIALIZED (
    SELECT w.id FROM flux.workers w
     WHERE w.namespace = @namespace AND w.id = @worker_id AND EXISTS (SELECT 1 FROM taken) FOR KEY SHARE
), claimed AS (
    UPDATE flux.live l SET state = 'running', attempt = l.attempt + 1, worker_id = @worker_id, claim_id = @claim_id,
                           started_at = (SELECT now FROM clock), deadline = (SELECT now FROM clock) + l.timeout
     WHERE l.namespace = @namespace AND l.ctid = ANY (ARRAY(SELECT place FROM taken)) AND l.state || '' = 'available'
       AND EXISTS (SELECT 1 FROM lease)
    RETURNING l.id, l.type, l.queue, l.priority, l.payload, l.attempt, l.attempt_limit, l.timeout, l.options, l.created_at,
              l.run_at, l.started_at, l.schedule_id, l.workflow_id, l.step
), told AS (
    INSERT INTO flux.events (namespace, at, subject, state, type, queue, ids)
    SELECT @namespace, min(started_at), 'job', 'running', type, queue, array_agg(id) FROM claimed GROUP BY type, queue
)
SELECT a.id IS NOT NULL AS alive, j.*, p.checkpoint
  FROM clock LEFT JOIN alive a ON true LEFT JOIN claimed j ON true
  LEFT JOIN flux.progress p ON p.namespace = @namespace AND p.job_id = j.id;

-- By hints: those of these ids that may be claimed, by primary key.
-- name: claim_hinted
WITH clock AS MATERIALIZED (
    SELECT coalesce(@now::bigint, flux.clock()) AS now
), alive AS MATERIALIZED (
    SELECT w.id FROM flux.workers w
     WHERE w.namespace = @namespace AND w.id = @worker_id AND w.lease_until > (SELECT now FROM clock)
), rooms AS MATERIALIZED (
    SELECT r.queue, r.room FROM unnest(@limited::text[], @rooms::bigint[]) AS r (queue, room)
), fitting AS MATERIALIZED (
    SELECT f.id FROM (
        SELECT l.id, l.priority, r.room,
               row_number() OVER (PARTITION BY l.queue ORDER BY l.priority * @sign::integer, l.id) AS place
          FROM flux.live l LEFT JOIN rooms r ON r.queue = l.queue
         WHERE l.namespace = @namespace AND l.id = ANY (ARRAY(SELECT unnest(@hints::uuid[]))) AND l.state || '' = 'available'
           AND l.type = ANY (@types::text[]) AND (@queues::text[] IS NULL OR l.queue = ANY (@queues::text[]))
           AND (l.expires_at IS NULL OR l.expires_at > (SELECT now FROM clock) OR l.attempt > 0)
           AND EXISTS (SELECT 1 FROM alive)
           AND NOT EXISTS (SELECT 1 FROM flux.queues q WHERE q.namespace = @namespace AND q.name = l.queue AND q.paused)
        ) f
     WHERE f.room IS NULL OR f.place <= f.room
     ORDER BY f.priority * @sign::integer, f.id LIMIT @slots
), chosen AS MATERIALIZED (
    SELECT l.id, l.ctid AS place, octet_length(l.payload) AS size
      FROM flux.live l
     WHERE l.namespace = @namespace AND l.id = ANY (ARRAY(SELECT id FROM fitting)) AND l.state || '' = 'available'
     ORDER BY l.id FOR UPDATE SKIP LOCKED
), taken AS MATERIALIZED (
    SELECT b.place FROM (SELECT c.place, c.size, sum(c.size) OVER (ROWS UNBOUNDED PRECEDING) AS total FROM chosen c) b
     WHERE b.total <= @most_bytes::bigint OR b.total = b.size
), lease AS MATERIALIZED (
    SELECT w.id FROM flux.workers w
     WHERE w.namespace = @namespace AND w.id = @worker_id AND EXISTS (SELECT 1 FROM taken) FOR KEY SHARE
), claimed AS (
    UPDATE flux.live l SET state = 'running', attempt = l.attempt + 1, worker_id = @worker_id, claim_id = @claim_id,
                           started_at = (SELECT now FROM clock), deadline = (SELECT now FROM clock) + l.timeout
     WHERE l.namespace = @namespace AND l.ctid = ANY (ARRAY(SELECT place FROM taken)) AND l.state || '' = 'available'
       AND EXISTS (SELECT 1 FROM lease)
    RETURNING l.id, l.type, l.queue, l.priority, l.payload, l.attempt, l.attempt_limit, l.timeout, l.options, l.created_at,
              l.run_at, l.started_at, l.schedule_id, l.workflow_id, l.step
), told AS (
    INSERT INTO flux.events (namespace, at, subject, state, type, queue, ids)
    SELECT @namespace, min(started_at), 'job', 'running', type, queue, array_agg(id) FROM claimed GROUP BY type, queue
)
SELECT a.id IS NOT NULL AS alive, j.*, p.checkpoint
  FROM clock LEFT JOIN alive a ON true LEFT JOIN claimed j ON true
  LEFT JOIN flux.progress p ON p.namespace = @namespace AND p.job_id = j.id;

-- What runs under a worker.
-- name: held
SELECT id, claim_id, attempt FROM flux.live WHERE namespace = @namespace AND state = 'running' AND worker_id = @worker_id;

-- Every (queue, priority, type) that has available jobs.
-- name: all_lanes
WITH RECURSIVE lanes (queue, priority, type) AS (
    (SELECT l.queue, l.priority, l.type FROM flux.live l
      WHERE l.namespace = @namespace AND l.state = 'available'
      ORDER BY l.queue DESC, l.priority DESC, l.type DESC LIMIT 1)
    UNION ALL
    SELECT n.* FROM lanes e CROSS JOIN LATERAL (
        SELECT l.queue, l.priority, l.type FROM flux.live l
         WHERE l.namespace = @namespace AND l.state = 'available'
           AND (l.queue, l.priority, l.type) < (e.queue, e.priority, e.type)
         ORDER BY l.queue DESC, l.priority DESC, l.type DESC LIMIT 1) n
)
SELECT queue, priority, type FROM lanes;
