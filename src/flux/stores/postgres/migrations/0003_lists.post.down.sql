-- The list of a type, newest first.
CREATE INDEX done_type ON flux.done (namespace, type, id);
-- The list of a queue, newest first.
CREATE INDEX done_queue ON flux.done (namespace, queue, id);
-- The lists by state, newest first: dead letters above all.
CREATE INDEX done_state ON flux.done (namespace, state, id);
