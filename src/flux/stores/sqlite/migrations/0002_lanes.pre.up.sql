-- One index for all lists: every row of done is written once into it, and not once for each of state, queue and type.
CREATE INDEX done_lanes ON done (namespace, state, queue, type, id);
