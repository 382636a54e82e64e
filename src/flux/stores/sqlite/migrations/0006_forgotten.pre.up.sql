-- The newest job of a schedule that is not kept any more: what a repeated request is answered with when none is left.
ALTER TABLE schedules ADD COLUMN forgotten_id TEXT;
ALTER TABLE schedules ADD COLUMN forgotten_state TEXT;
ALTER TABLE schedules ADD COLUMN forgotten_created_at INTEGER;
ALTER TABLE schedules ADD COLUMN forgotten_run_at INTEGER;
