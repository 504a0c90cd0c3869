-- The rows of a table that requests were made of, kept to be joined to the answers. Nothing is written for a job without.

-- How many requests were handed in with a row, those included that were left out as repeated.
ALTER TABLE job ADD COLUMN row_count INTEGER NOT NULL DEFAULT 0 CHECK (row_count >= 0);

-- As `payload`: the rows of `count` neighbours, each a JSON object; of length 0 where there is none. A chunk of requests
-- without rows has no block.
CREATE TABLE source_row (
  first_id INTEGER PRIMARY KEY,
  count    INTEGER NOT NULL CHECK (count >= 1),
  data     BLOB    NOT NULL
) STRICT;
CREATE TRIGGER source_row_kept BEFORE DELETE ON source_row
WHEN (SELECT state <> 'importing' AND purged_at IS NULL FROM job WHERE id = OLD.first_id >> 32)
BEGIN SELECT raise(ABORT, 'source_row: kept with its job'); END;
