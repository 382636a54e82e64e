CREATE INDEX done_type ON done (namespace, type, id);
CREATE INDEX done_queue ON done (namespace, queue, id);
CREATE INDEX done_state ON done (namespace, state, id);
