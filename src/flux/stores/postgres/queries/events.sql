-- Events: what a transaction changed, one row for each subject, state, type and queue.

-- name: write_events
INSERT INTO flux.events (namespace, at, subject, state, type, queue, key, ids)
SELECT @namespace, @at::bigint, e.subject, e.state, e.type, e.queue, e.key, i.ids
  FROM unnest(@subjects::text[], @states::text[], @types::text[], @queues::text[], @keys::text[])
       WITH ORDINALITY AS e (subject, state, type, queue, key, n)
  LEFT JOIN (SELECT g.n, array_agg(g.id ORDER BY g.place) AS ids
               FROM unnest(@groups::integer[], @ids::uuid[]) WITH ORDINALITY AS g (n, id, place) GROUP BY g.n) i USING (n)
 ORDER BY e.n;

-- Not settled is what an earlier transaction, still under way, may yet put something before.
-- name: read_events
SELECT batch, at, subject, state, type, queue, key, ids, batch < flux.settled_batch() AS settled FROM flux.events
 WHERE namespace = @namespace AND batch >= @batch ORDER BY batch LIMIT @limit;

-- name: newest_event
SELECT batch, at, subject, state, type, queue, key, ids, batch < flux.settled_batch() AS settled FROM flux.events
 WHERE namespace = @namespace ORDER BY batch DESC LIMIT 1;

-- name: newest_settled_event
SELECT batch, at, subject, state, type, queue, key, ids FROM flux.events
 WHERE namespace = @namespace AND batch < flux.settled_batch() ORDER BY batch DESC LIMIT 1;
