CREATE FUNCTION flux.settled_batch() RETURNS bigint LANGUAGE sql STABLE
AS $$ SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint << 20 $$;
