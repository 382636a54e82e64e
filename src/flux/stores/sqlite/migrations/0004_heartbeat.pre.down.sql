ALTER TABLE progress DROP COLUMN heartbeat_at;
