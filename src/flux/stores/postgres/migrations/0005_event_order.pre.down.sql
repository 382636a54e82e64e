-- The numbers by transaction are above those of the sequence, so clients go on.
LOCK TABLE flux.events IN SHARE ROW EXCLUSIVE MODE;
CREATE OR REPLACE FUNCTION flux.event_batch() RETURNS bigint LANGUAGE sql VOLATILE
AS $$ SELECT (pg_current_xact_id()::text::bigint << 20) | (nextval('flux.event_order') & 1048575) $$;
