ALTER TABLE workers RENAME TO workers_now;
CREATE TABLE workers (
    namespace   TEXT    NOT NULL,
    id          TEXT    NOT NULL,
    host        TEXT    NOT NULL,
    pid         INTEGER NOT NULL,
    version     TEXT    NOT NULL,
    queues      TEXT    NOT NULL,
    types       TEXT    NOT NULL,
    slots       INTEGER NOT NULL,
    busy        INTEGER NOT NULL DEFAULT 0,
    started_at  INTEGER NOT NULL,
    seen_at     INTEGER NOT NULL,
    lease_until INTEGER NOT NULL,
    drain       INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (namespace, id)
) WITHOUT ROWID;
INSERT INTO workers (namespace, id, host, pid, version, queues, types, slots, started_at, seen_at, lease_until, drain)
SELECT namespace, id, host, pid, version, queues, types, slots, started_at, seen_at, lease_until, drain FROM workers_now;
DROP TABLE workers_now;
