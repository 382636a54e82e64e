-- Statements of leases.

-- name: register
WITH clock AS MATERIALIZED (SELECT coalesce(@now::bigint, flux.clock()) AS now),
told AS (
    INSERT INTO flux.events (namespace, at, subject, state, key)
    SELECT @namespace, now, 'worker', 'alive', @id FROM clock
)
INSERT INTO flux.workers (namespace, id, host, pid, version, queues, types, slots, started_at, seen_at, lease_until)
SELECT @namespace, @id, @host, @pid, @version, @queues, @types::text[], @slots, now, now, now + @lease::bigint FROM clock
ON CONFLICT (namespace, id) DO UPDATE SET seen_at = excluded.seen_at, lease_until = excluded.lease_until;

-- One row while the lease holds: whether to drain, and the jobs whose cancel is wanted.
-- name: renew
WITH clock AS MATERIALIZED (SELECT coalesce(@now::bigint, flux.clock()) AS now)
UPDATE flux.workers w SET lease_until = c.now + @lease::bigint, seen_at = c.now
  FROM clock c
 WHERE w.namespace = @namespace AND w.id = @id AND w.lease_until > c.now
RETURNING w.drain, ARRAY(SELECT l.id FROM flux.live l
                          WHERE l.namespace = @namespace AND l.state = 'running' AND l.cancel_requested
                            AND l.worker_id = @id) AS cancels;

-- name: orders
WITH clock AS MATERIALIZED (SELECT coalesce(@now::bigint, flux.clock()) AS now)
SELECT w.drain, ARRAY(SELECT l.id FROM flux.live l
                       WHERE l.namespace = @namespace AND l.state = 'running' AND l.cancel_requested
                         AND l.worker_id = @id) AS cancels
  FROM flux.workers w, clock c
 WHERE w.namespace = @namespace AND w.id = @id AND w.lease_until > c.now;

-- name: leave
WITH clock AS MATERIALIZED (SELECT coalesce(@now::bigint, flux.clock()) AS now),
gone AS (
    UPDATE flux.workers w SET lease_until = c.now, seen_at = c.now
      FROM clock c
     WHERE w.namespace = @namespace AND w.id = @id AND w.lease_until > c.now
    RETURNING c.now
)
INSERT INTO flux.events (namespace, at, subject, state, key) SELECT @namespace, now, 'worker', 'left', @id FROM gone;
