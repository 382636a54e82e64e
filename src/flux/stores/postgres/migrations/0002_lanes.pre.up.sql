-- The lists by state, queue and type, newest first of each lane: every row is written once here, and not once for each.
CREATE INDEX done_lanes ON flux.done (namespace, state, queue, type, id);
