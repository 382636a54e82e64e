ALTER TABLE schedules DROP COLUMN forgotten_run_at;
ALTER TABLE schedules DROP COLUMN forgotten_created_at;
ALTER TABLE schedules DROP COLUMN forgotten_state;
ALTER TABLE schedules DROP COLUMN forgotten_id;
