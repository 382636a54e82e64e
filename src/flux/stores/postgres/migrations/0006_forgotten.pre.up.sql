-- The newest job of a schedule that is not kept any more: what a repeated request is answered with when none is left.
ALTER TABLE flux.schedules ADD COLUMN forgotten_id uuid;
ALTER TABLE flux.schedules ADD COLUMN forgotten_state text COLLATE "C";
ALTER TABLE flux.schedules ADD COLUMN forgotten_created_at bigint;
ALTER TABLE flux.schedules ADD COLUMN forgotten_run_at bigint;
