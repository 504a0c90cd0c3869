-- The rows of a table that requests were made of: SQLite's file of this name says what everything means.

ALTER TABLE job ADD COLUMN row_count bigint NOT NULL DEFAULT 0 CHECK (row_count >= 0);

CREATE TABLE source_row (
  first_id bigint PRIMARY KEY,
  count    bigint NOT NULL CHECK (count >= 1),
  data     bytea  NOT NULL
);
ALTER TABLE source_row ALTER data SET STORAGE EXTERNAL;  -- zstd has compressed it
CREATE FUNCTION source_row_gone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM (SELECT DISTINCT first_id >> 32 AS job FROM old_rows) AS named
              WHERE (SELECT state <> 'importing' AND purged_at IS NULL FROM orchestrator.job WHERE id = named.job)) THEN
    RAISE EXCEPTION 'source_row: kept with its job' USING ERRCODE = '23000';
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER source_row_gone AFTER DELETE ON source_row
REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION source_row_gone();
