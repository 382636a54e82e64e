-- Events: what a transaction changed, one row for each subject, state, type and queue.

-- name: write_events
INSERT INTO flux.events (namespace, at, subject, state, type, queue, key, ids)
SELECT @namespace, @at::bigint, e.subject, e.state, e.type, e.queue, e.key, i.ids
  FROM unnest(@subjects::text[], @states::text[], @types::text[], @queues::text[], @keys::text[])
       WITH ORDINALITY AS e (subject, state, type, queue, key, n)
  LEFT JOIN (SELECT g.n, array_agg(g.id ORDER BY g.place) AS ids
               FROM unnest(@groups::integer[], @ids::uuid[]) WITH ORDINALITY AS g (n, id, place) GROUP BY g.n) i USING (n)
 ORDER BY e.n;

-- Up to where a reader may go. Asked before the events are, in a statement of its own: what was committed until then is seen
-- by the next.
-- name: settled
SELECT flux.settled_batch() AS batch;

-- Not settled is what an earlier transaction, still under way, may yet put something before.
-- name: read_events
SELECT batch, at, subject, state, type, queue, key, ids, batch < @settled::bigint AS settled FROM flux.events
 WHERE namespace = @namespace AND batch >= @batch ORDER BY batch LIMIT @limit;

-- name: newest_event
SELECT batch, at, subject, state, type, queue, key, ids, batch < @settled::bigint AS settled FROM flux.events
 WHERE namespace = @namespace ORDER BY batch DESC LIMIT 1;

-- name: newest_settled_event
SELECT batch, at, subject, state, type, queue, key, ids FROM flux.events
 WHERE namespace = @namespace AND batch < @settled::bigint ORDER BY batch DESC LIMIT 1;
