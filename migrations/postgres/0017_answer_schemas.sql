-- What answers of a job have to match: SQLite's file of this name says what everything means.

ALTER TABLE job ADD COLUMN answer_schema utext CHECK (answer_schema <> '');
ALTER TABLE job ADD COLUMN retry_invalid bigint NOT NULL DEFAULT 1 CHECK (retry_invalid >= 0);
CREATE TRIGGER job_schema_kept BEFORE UPDATE OF answer_schema, retry_invalid ON job
FOR EACH ROW EXECUTE FUNCTION refuse('job: what its answers have to match never changes');
