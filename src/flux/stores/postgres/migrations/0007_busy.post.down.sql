ALTER TABLE flux.workers ADD COLUMN busy integer NOT NULL DEFAULT 0;
