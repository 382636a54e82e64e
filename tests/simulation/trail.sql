-- What really became of each job, written down by the database itself: a verb's answer may be lost, or come late.
CREATE SCHEMA trail;
CREATE TABLE trail.moves (
    step bigint GENERATED ALWAYS AS IDENTITY, job uuid, state text, claim bigint, unique_key text, live boolean
);

-- What callers and handlers have written together with jobs.
CREATE TABLE trail.orders (step bigint GENERATED ALWAYS AS IDENTITY, job text);
CREATE TABLE trail.writes (step bigint GENERATED ALWAYS AS IDENTITY, job text);

CREATE FUNCTION trail.note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO trail.moves (job, state, claim, unique_key, live)
        VALUES (NEW.id, NEW.state, NEW.claim_id, NEW.unique_key, TG_ARGV[0]::boolean);
    ELSIF OLD.state <> NEW.state THEN
        INSERT INTO trail.moves (job, state, claim, unique_key, live)
        VALUES (NEW.id, NEW.state, coalesce(NEW.claim_id, OLD.claim_id), NEW.unique_key, true);
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER trail AFTER INSERT OR UPDATE ON flux.live FOR EACH ROW EXECUTE FUNCTION trail.note('true');
CREATE TRIGGER trail AFTER INSERT ON flux.done FOR EACH ROW EXECUTE FUNCTION trail.note('false');

-- The time of the world, which it writes into a file.
CREATE OR REPLACE FUNCTION flux.clock() RETURNS bigint LANGUAGE sql VOLATILE
AS $$ SELECT pg_read_file(':clock')::bigint $$;
