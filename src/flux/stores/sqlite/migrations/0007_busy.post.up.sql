-- What runs under a worker is counted when it is asked for.
ALTER TABLE workers DROP COLUMN busy;
