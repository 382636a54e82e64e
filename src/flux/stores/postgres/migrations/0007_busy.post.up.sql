-- What runs under a worker is counted when it is asked for.
ALTER TABLE flux.workers DROP COLUMN busy;
