-- What a job is filed under: sorted, comma-separated. Jobs are few, so lists filter without an index.
ALTER TABLE job ADD COLUMN tags TEXT NOT NULL DEFAULT '';
