-- What done_lanes stands for.
DROP INDEX flux.done_state;
DROP INDEX flux.done_queue;
DROP INDEX flux.done_type;
