-- Readers take a mark instead (queries/events.sql).
DROP FUNCTION flux.settled_batch();
