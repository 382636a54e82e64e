-- When the handler was last heard: a heartbeat, progress or a checkpoint.
ALTER TABLE progress ADD COLUMN heartbeat_at INTEGER;
