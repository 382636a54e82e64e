-- Numbers of the old kind may be smaller than those of the new: of what was written readers would wait in vain for more.
TRUNCATE flux.events;
CREATE OR REPLACE FUNCTION flux.event_batch() RETURNS bigint LANGUAGE sql VOLATILE
AS $$ SELECT (pg_current_xact_id()::text::bigint << 20) | (nextval('flux.event_order') & 1048575) $$;
CREATE OR REPLACE FUNCTION flux.settled_batch() RETURNS bigint LANGUAGE sql STABLE
AS $$ SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint << 20 $$;
