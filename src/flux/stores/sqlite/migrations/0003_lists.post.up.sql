-- What done_lanes stands for.
DROP INDEX done_state;
DROP INDEX done_queue;
DROP INDEX done_type;
