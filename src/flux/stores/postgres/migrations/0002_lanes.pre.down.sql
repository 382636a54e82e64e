DROP INDEX flux.done_id;
-- A job by its id; also the walk through all, newest first (ids are in the order of time).
CREATE INDEX done_id ON flux.done (namespace, id);
ALTER TABLE flux.live DROP CONSTRAINT live_pkey, ADD CONSTRAINT live_pkey PRIMARY KEY (namespace, id);
DROP INDEX flux.done_lanes;
