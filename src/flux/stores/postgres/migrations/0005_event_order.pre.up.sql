-- Batches of changes were numbered by their transaction first, and that was not the order of changes: a transaction gets its
-- number at its first write, and may come to a job's row after one that began later. Processes of the version before read by
-- flux.settled_batch() as long as they run, and it does not wait for late commits among the new numbers.

-- Whoever has written by the old rule ends first; nobody writes between the rules.
LOCK TABLE flux.events IN SHARE ROW EXCLUSIVE MODE;
-- What is new comes after all that was ever numbered here, or before this database was copied: clients go on where they were.
SELECT setval('flux.event_order', greatest(pg_snapshot_xmax(pg_current_snapshot())::text::bigint << 20,
                                           (SELECT max(batch) FROM flux.events)))
  FROM flux.event_order WHERE is_called;

-- The number of the next batch, given when its transaction has locked the rows that it is about: so the numbers of what
-- happens to a job are in the order in which it happens (as long as no session takes numbers ahead: CACHE 1, the default).
-- The transaction has a number of its own before that: by it readers know who may still have an earlier batch to commit
-- (queries/events.sql).
CREATE OR REPLACE FUNCTION flux.event_batch() RETURNS bigint LANGUAGE sql VOLATILE
AS $$ SELECT CASE WHEN pg_current_xact_id() IS NOT NULL THEN nextval('flux.event_order') END $$;
