DROP INDEX done_lanes;
