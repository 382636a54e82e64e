-- Statements of enqueue.

-- Jobs that ask for nothing special, and all that goes with them. Nothing is stored (and no time told) when a finished job
-- lies between the first and the last id: then it must be looked at one by one.
-- name: insert_plain
WITH clock AS MATERIALIZED (SELECT coalesce(@now::bigint, flux.clock()) AS now),
given AS MATERIALIZED (
    SELECT g.id, g.type, g.queue, g.priority, g.max_retries, g.payload, coalesce(g.run_at, c.now + g.delay) AS run_at, c.now
      FROM unnest(@ids::uuid[], @types::text[], @queues::text[], @priorities::smallint[], @retries::integer[],
                  @payloads::bytea[], @delays::bigint[], @run_ats::bigint[])
           AS g (id, type, queue, priority, max_retries, payload, delay, run_at)
     CROSS JOIN clock c
     WHERE NOT EXISTS (SELECT 1 FROM flux.done d WHERE d.namespace = @namespace AND d.id BETWEEN @first AND @last)
), stored AS (
    INSERT INTO flux.live (namespace, id, type, queue, priority, state, run_at, created_at, attempt_limit, max_retries,
                           payload)
    SELECT @namespace, g.id, g.type, g.queue, g.priority,
           CASE WHEN g.run_at <= g.now THEN 'available' ELSE 'scheduled' END, g.run_at, g.now, g.max_retries + 1,
           g.max_retries, g.payload
      FROM given g
), named AS (
    INSERT INTO flux.queues (namespace, name)
    SELECT @namespace, n.name FROM unnest(@unseen::text[]) AS n (name) ORDER BY n.name
    ON CONFLICT DO NOTHING
), told AS (
    INSERT INTO flux.events (namespace, at, subject, state, type, queue, ids)
    SELECT @namespace, min(g.now), 'job', CASE WHEN g.run_at <= g.now THEN 'available' ELSE 'scheduled' END, g.type,
           g.queue, array_agg(g.id)
      FROM given g GROUP BY 4, g.type, g.queue
)
SELECT now FROM given LIMIT 1;

-- The rows of any jobs, as they are to be.
-- name: insert_live
INSERT INTO flux.live (namespace, id, type, queue, priority, state, run_at, created_at, attempt_limit, max_retries, payload,
                       timeout, expires_at, options, fire_at, schedule_id, workflow_id, unique_key, idempotency_key)
SELECT @namespace, g.id, g.type, g.queue, g.priority, g.state, g.run_at, @now::bigint, g.max_retries + 1, g.max_retries,
       g.payload, g.timeout, g.expires_at, g.options, g.fire_at, g.schedule_id, g.workflow_id, g.unique_key,
       g.idempotency_key
  FROM unnest(@ids::uuid[], @types::text[], @queues::text[], @priorities::smallint[], @states::text[], @run_ats::bigint[],
              @retries::integer[], @payloads::bytea[], @timeouts::bigint[], @expiries::bigint[], @options::bytea[],
              @fire_ats::bigint[], @schedules::text[], @workflows::text[], @unique_keys::text[], @idempotency_keys::text[])
       AS g (id, type, queue, priority, state, run_at, max_retries, payload, timeout, expires_at, options, fire_at,
             schedule_id, workflow_id, unique_key, idempotency_key);

-- A job that has ended is in another table, which no constraint of this one sees. Asked after the insert: what moved there
-- meanwhile was still in its way then.
-- name: find_ended
SELECT d.id FROM flux.done d WHERE d.namespace = @namespace AND d.id = ANY (@ids::uuid[]) LIMIT 1;

-- Those of the ids that are stored, wherever they are.
-- name: find_stored
SELECT l.id, l.type, l.payload, l.state, l.created_at, l.run_at
  FROM flux.live l WHERE l.namespace = @namespace AND l.id = ANY (@ids::uuid[])
UNION ALL
SELECT d.id, d.type, d.payload, d.state, d.created_at, d.run_at
  FROM flux.done d WHERE d.namespace = @namespace AND d.id = ANY (@ids::uuid[]);

-- name: find_ended_between
SELECT d.id FROM flux.done d WHERE d.namespace = @namespace AND d.id BETWEEN @first AND @last LIMIT 1;

-- name: insert_queues
INSERT INTO flux.queues (namespace, name)
SELECT @namespace, n.name FROM unnest(@names::text[]) AS n (name) ORDER BY n.name
ON CONFLICT DO NOTHING;

-- name: hold_occurrence
INSERT INTO flux.occurrences (namespace, schedule_id, fire_at, job_id)
VALUES (@namespace, @schedule_id, @fire_at, @job_id) ON CONFLICT DO NOTHING;

-- Whoever asks for keys has them to himself until his commit, in one order. Keys share a thousand locks, since there is
-- only so much room for locks in all.
-- name: lock_keys
SELECT count(pg_advisory_xact_lock(1180463448, s.stripe))
  FROM (SELECT DISTINCT hashtext(@namespace || ' ' || k.key) & 1023 AS stripe FROM unnest(@keys::text[]) AS k (key)
         ORDER BY stripe) s;

-- Which database of which server this is. No error where there is nothing of Flux's: that would spoil the transaction of the
-- caller whose connection leads there.
-- name: where
SELECT current_database()::text AS name, coalesce(to_regclass('flux.live')::oid::bigint, 0) AS live,
       (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint AS started;

-- In a caller's own transaction the keys' own rows are the locks, in the order of keys: those that stand stay as they are,
-- the others are made and stand for nothing.
-- name: take_idempotency
INSERT INTO flux.idempotency AS i (namespace, key, fingerprint, job_id, expires_at)
SELECT @namespace, k.key, '', '00000000-0000-0000-0000-000000000000'::uuid, 0 FROM unnest(@keys::text[]) AS k (key) ORDER BY k.key
ON CONFLICT (namespace, key) DO UPDATE SET key = i.key;

-- name: take_unique
INSERT INTO flux.uniqueness AS u (namespace, key, job_id, states, expires_at)
SELECT @namespace, k.key, '00000000-0000-0000-0000-000000000000'::uuid, '{}'::text[], 0 FROM unnest(@keys::text[]) AS k (key) ORDER BY k.key
ON CONFLICT (namespace, key) DO UPDATE SET key = u.key;

-- What stands for the keys already; a job that is forgotten answers from the key's own row.
-- name: find_idempotency
SELECT i.key, i.fingerprint, i.job_id, coalesce(l.state, d.state, i.state) AS state,
       coalesce(l.created_at, d.created_at, i.created_at) AS created_at, coalesce(l.run_at, d.run_at, i.run_at) AS run_at
  FROM flux.idempotency i
  LEFT JOIN flux.live l ON l.namespace = @namespace AND l.id = i.job_id
  LEFT JOIN LATERAL (SELECT * FROM flux.done d WHERE d.namespace = @namespace AND d.id = i.job_id LIMIT 1) d ON true
 WHERE i.namespace = @namespace AND i.key = ANY (@keys::text[]) AND (i.expires_at IS NULL OR i.expires_at > @now::bigint)
   AND coalesce(l.state, d.state, i.state) IS NOT NULL;

-- Nothing is kept where the key stands by now: a caller's own transaction takes no lock, and may have committed it since.
-- name: hold_idempotency
INSERT INTO flux.idempotency (namespace, key, fingerprint, job_id, expires_at, created_at, run_at)
SELECT @namespace, g.* FROM unnest(@keys::text[], @fingerprints::text[], @ids::uuid[], @expiries::bigint[],
                                   @created::bigint[], @run_ats::bigint[])
                            AS g (key, fingerprint, job_id, expires_at, created_at, run_at)
 ORDER BY g.key
ON CONFLICT (namespace, key) DO UPDATE SET
    fingerprint = excluded.fingerprint, job_id = excluded.job_id, expires_at = excluded.expires_at, state = NULL,
    created_at = excluded.created_at, run_at = excluded.run_at
 WHERE flux.idempotency.expires_at <= @now::bigint
    OR coalesce(flux.state_of(@namespace, flux.idempotency.job_id), flux.idempotency.state) IS NULL;

-- The key of a schedule stands under the schedule's id, and needs a state of its own, having none of a job to show.
-- name: hold_for_schedule
INSERT INTO flux.idempotency (namespace, key, fingerprint, job_id, expires_at, state, created_at, run_at)
VALUES (@namespace, @key, @fingerprint, @id, @expires_at, 'scheduled', @now::bigint, @now::bigint)
ON CONFLICT (namespace, key) DO UPDATE SET
    fingerprint = excluded.fingerprint, job_id = excluded.job_id, expires_at = excluded.expires_at, state = excluded.state,
    created_at = excluded.created_at, run_at = excluded.run_at
 WHERE flux.idempotency.expires_at <= @now::bigint
    OR coalesce(flux.state_of(@namespace, flux.idempotency.job_id), flux.idempotency.state) IS NULL;

-- Who holds the keys, while it holds them.
-- name: find_unique
SELECT u.key, u.job_id, coalesce(l.state, d.state, u.state) AS state,
       coalesce(l.created_at, d.created_at, u.created_at) AS created_at, coalesce(l.run_at, d.run_at, u.run_at) AS run_at
  FROM flux.uniqueness u
  LEFT JOIN flux.live l ON l.namespace = @namespace AND l.id = u.job_id
  LEFT JOIN LATERAL (SELECT * FROM flux.done d WHERE d.namespace = @namespace AND d.id = u.job_id LIMIT 1) d ON true
 WHERE u.namespace = @namespace AND u.key = ANY (@keys::text[]) AND (u.expires_at IS NULL OR u.expires_at > @now::bigint)
   AND coalesce(l.state, d.state, u.state) = ANY (u.states);

-- Their states come as one text each, since arrays of arrays must all be of one length.
-- name: hold_unique
INSERT INTO flux.uniqueness (namespace, key, job_id, states, expires_at)
SELECT @namespace, g.key, g.job_id, string_to_array(g.states, ','), g.expires_at
  FROM unnest(@keys::text[], @ids::uuid[], @states::text[], @expiries::bigint[]) AS g (key, job_id, states, expires_at)
 ORDER BY g.key
ON CONFLICT (namespace, key) DO UPDATE SET
    job_id = excluded.job_id, states = excluded.states, expires_at = excluded.expires_at, state = NULL,
    created_at = NULL, run_at = NULL
 WHERE flux.uniqueness.expires_at <= @now::bigint
    OR coalesce(flux.state_of(@namespace, flux.uniqueness.job_id), flux.uniqueness.state, '') <> ALL (flux.uniqueness.states);
