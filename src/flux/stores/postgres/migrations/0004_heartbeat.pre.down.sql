ALTER TABLE flux.progress DROP COLUMN heartbeat_at;
