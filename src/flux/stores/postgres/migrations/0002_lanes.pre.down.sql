DROP INDEX flux.done_lanes;
