-- Statements of enqueue. ?1 is the namespace everywhere.

-- name: insert_live
-- row: (?1, *, *, *, *, *, *, ?2, *, *, *, *, *, *, *, *, *, *)
INSERT INTO live (namespace, id, type, queue, priority, state, run_at, created_at, attempt_limit, max_retries,
                  payload, timeout, expires_at, options, schedule_id, workflow_id, unique_key, idempotency_key)
VALUES {rows};

-- The same for jobs that ask for nothing special: binding values costs most of a large insert.
-- name: insert_plain
-- row: (?1, *, *, *, *, *, *, ?2, *, *, *)
INSERT INTO live (namespace, id, type, queue, priority, state, run_at, created_at, attempt_limit, max_retries, payload)
VALUES {rows};

-- name: find_ended
SELECT d.id FROM json_each(?2) j CROSS JOIN done d WHERE d.namespace = ?1 AND d.id = j.value LIMIT 1;

-- Those of the ids that are stored, wherever they are.
-- name: find_known
SELECT json_group_array(json_array(id, type, payload, state, created_at, run_at))
  FROM (SELECT l.id, l.type, l.payload, l.state, l.created_at, l.run_at
          FROM json_each(?2) j CROSS JOIN live l WHERE l.namespace = ?1 AND l.id = j.value
         UNION ALL
        SELECT d.id, d.type, d.payload, d.state, d.created_at, d.run_at
          FROM json_each(?2) j CROSS JOIN done d WHERE d.namespace = ?1 AND d.id = j.value);

-- name: insert_queues
-- row: (?1, *)
INSERT OR IGNORE INTO queues (namespace, name) VALUES {rows};

-- name: hold_occurrence
INSERT OR IGNORE INTO occurrences (namespace, schedule_id, fire_at, job_id) VALUES (?1, ?2, ?3, ?4);

-- What stands for the keys already; a job that is forgotten answers from the key's own row.
-- name: find_idempotency
SELECT json_group_array(json_array(i.key, i.fingerprint, i.job_id, coalesce(l.state, d.state, i.state),
           coalesce(l.created_at, d.created_at, i.created_at), coalesce(l.run_at, d.run_at, i.run_at)))
  FROM json_each(?2) k
 CROSS JOIN idempotency i ON i.namespace = ?1 AND i.key = k.value
  LEFT JOIN live l ON l.namespace = ?1 AND l.id = i.job_id
  LEFT JOIN done d ON d.namespace = ?1 AND d.id = i.job_id
 WHERE (i.expires_at IS NULL OR i.expires_at > ?3)
   AND coalesce(l.state, d.state, i.state) IS NOT NULL;

-- name: hold_idempotency
-- row: (?1, *, *, *, *, *, *, *)
INSERT OR REPLACE INTO idempotency (namespace, key, fingerprint, job_id, expires_at, state, created_at, run_at)
VALUES {rows};

-- Who holds the keys, while it holds them.
-- name: find_unique
SELECT json_group_array(json_array(u.key, u.job_id, coalesce(l.state, d.state, u.state),
           coalesce(l.created_at, d.created_at, u.created_at), coalesce(l.run_at, d.run_at, u.run_at)))
  FROM json_each(?2) k
 CROSS JOIN uniqueness u ON u.namespace = ?1 AND u.key = k.value
  LEFT JOIN live l ON l.namespace = ?1 AND l.id = u.job_id
  LEFT JOIN done d ON d.namespace = ?1 AND d.id = u.job_id
 WHERE (u.expires_at IS NULL OR u.expires_at > ?3)
   AND instr(u.states, '"' || coalesce(l.state, d.state, u.state) || '"') > 0;

-- name: hold_unique
-- row: (?1, *, *, *, *)
INSERT OR REPLACE INTO uniqueness (namespace, key, job_id, states, expires_at) VALUES {rows};
