-- The lists by state, queue and type, newest first of each lane: every row is written once here, and not once for each.
CREATE INDEX done_lanes ON flux.done (namespace, state, queue, type, id);

-- Keys begin with the id: one comparison of sixteen bytes decides nearly all, where a text that is the same in every row
-- came first.
ALTER TABLE flux.live DROP CONSTRAINT live_pkey, ADD CONSTRAINT live_pkey PRIMARY KEY (id, namespace);
DROP INDEX flux.done_id;
-- A job by its id; also the walk through all, newest first (ids are in the order of time).
CREATE INDEX done_id ON flux.done (id, namespace);
