-- Events: what a transaction changed, one row for each subject, state, type and queue.

-- name: write_events
INSERT INTO flux.events (namespace, at, subject, state, type, queue, key, ids)
SELECT @namespace, @at::bigint, e.subject, e.state, e.type, e.queue, e.key, i.ids
  FROM unnest(@subjects::text[], @states::text[], @types::text[], @queues::text[], @keys::text[])
       WITH ORDINALITY AS e (subject, state, type, queue, key, n)
  LEFT JOIN (SELECT g.n, array_agg(g.id ORDER BY g.place) AS ids
               FROM unnest(@groups::integer[], @ids::uuid[]) WITH ORDINALITY AS g (n, id, place) GROUP BY g.n) i USING (n)
 ORDER BY e.n;

-- A mark, where something is new after a place: the last number that was given out, and then a transaction's number, which is
-- above those of all who have such a number (flux.event_batch). In this order, and so from a CTE. It is our own: a snapshot
-- does not tell the newest of those under way.
-- name: mark_events
WITH given AS MATERIALIZED (
    SELECT last_value AS last FROM flux.event_order
     WHERE EXISTS (SELECT 1 FROM flux.events
                    WHERE namespace = @namespace AND batch >= @batch
                      AND (batch > @batch OR cardinality(ids) - 1 > @index::bigint))
)
SELECT last, pg_current_xact_id()::text::bigint AS before FROM given;

-- Whether nobody from before a mark is under way: what has a number up to the mark's is committed, or never will be.
-- name: settled
SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint > @before::bigint AS settled;

-- The same, whoever else is under way: a transaction that was given a number keeps a lock on the sequence until its end. Asked
-- only when something takes long, since the list of all locks costs milliseconds.
-- name: settled_among_strangers
WITH locks AS MATERIALIZED (SELECT * FROM pg_locks)
SELECT NOT EXISTS (
    SELECT 1 FROM locks l JOIN locks t ON t.virtualtransaction = l.virtualtransaction
     WHERE l.relation = 'flux.event_order'::regclass AND l.mode = 'RowExclusiveLock'
       AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
       AND t.transactionid IN (SELECT x::xid FROM pg_snapshot_xip(pg_current_snapshot()) AS x
                                WHERE x::text::bigint < @before::bigint)) AS settled;

-- name: read_events
SELECT batch, at, subject, state, type, queue, key, ids FROM flux.events
 WHERE namespace = @namespace AND batch >= @batch AND batch <= @last ORDER BY batch LIMIT @limit;

-- name: newest_event
SELECT batch, at, subject, state, type, queue, key, ids FROM flux.events
 WHERE namespace = @namespace AND batch <= @last ORDER BY batch DESC LIMIT 1;
