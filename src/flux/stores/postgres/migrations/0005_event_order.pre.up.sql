-- Whoever writes events has written them before this, or writes them by the new numbers.
LOCK TABLE flux.events IN SHARE ROW EXCLUSIVE MODE;
-- Past every number of old.
SELECT setval('flux.event_order', pg_snapshot_xmax(pg_current_snapshot())::text::bigint << 20);

-- A batch's number is drawn while the rows of its jobs are held, so that the events of one job are in the order in which
-- they happened. Before it is drawn a lock tells readers from which number on its transaction may yet put something; sixteen
-- numbers share one, since a transaction may write many batches.
CREATE OR REPLACE FUNCTION flux.event_batch() RETURNS bigint LANGUAGE sql VOLATILE
AS $$ SELECT nextval(CASE WHEN pg_try_advisory_xact_lock_shared(
                              18028::bigint << 48 | coalesce(pg_sequence_last_value('flux.event_order'), 0) & ~15::bigint)
                          THEN 'flux.event_order'::regclass END) $$;

-- What lies before it can have nothing put before it any more. To be asked in a statement before the one that reads, which
-- sees then whatever was committed until now. What is drawn after the first line is larger.
CREATE OR REPLACE FUNCTION flux.settled_batch() RETURNS bigint LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    last_drawn bigint := coalesce(pg_sequence_last_value('flux.event_order'), 0);
BEGIN
    RETURN 1 + least(last_drawn, (
        SELECT min((l.classid::bigint << 32 | l.objid::bigint) & (1::bigint << 48) - 1) FROM pg_locks l
         WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.classid::bigint >> 16 = 18028
           AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())));
END $$;
