ALTER TABLE flux.schedules DROP COLUMN forgotten_run_at;
ALTER TABLE flux.schedules DROP COLUMN forgotten_created_at;
ALTER TABLE flux.schedules DROP COLUMN forgotten_state;
ALTER TABLE flux.schedules DROP COLUMN forgotten_id;
