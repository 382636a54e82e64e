-- Statements of leases. ?1 is the namespace everywhere.

-- name: register
INSERT INTO workers (namespace, id, host, pid, version, queues, types, slots, started_at, seen_at, lease_until)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9, ?10)
ON CONFLICT (namespace, id) DO UPDATE SET seen_at = excluded.seen_at, lease_until = excluded.lease_until;

-- name: renew
UPDATE workers SET lease_until = ?3 + ?4, seen_at = ?3
 WHERE namespace = ?1 AND id = ?2 AND lease_until > ?3;

-- name: leave
UPDATE workers SET lease_until = min(lease_until, ?3), seen_at = ?3
 WHERE namespace = ?1 AND id = ?2 AND lease_until > ?3;

-- One row while the lease holds: whether to drain, and the jobs whose cancel is wanted.
-- name: read_orders
SELECT w.drain, (SELECT json_group_array(id) FROM live INDEXED BY live_running
                  WHERE namespace = ?1 AND state = 'running' AND worker_id = ?2 AND cancel_requested = 1)
  FROM workers w
 WHERE w.namespace = ?1 AND w.id = ?2 AND w.lease_until > ?3;
