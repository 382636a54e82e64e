-- When the handler was last heard: a heartbeat, progress or a checkpoint.
ALTER TABLE flux.progress ADD COLUMN heartbeat_at bigint;
