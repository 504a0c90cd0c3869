-- What answers of a job have to match.

-- answer_schema: a JSON Schema as it was handed in; NULL: anything will do. retry_invalid: how often a request is sent again whose
-- answers do not match it.
ALTER TABLE job ADD COLUMN answer_schema TEXT CHECK (answer_schema <> '');
ALTER TABLE job ADD COLUMN retry_invalid INTEGER NOT NULL DEFAULT 1 CHECK (retry_invalid >= 0);
CREATE TRIGGER job_schema_kept BEFORE UPDATE OF answer_schema, retry_invalid ON job
BEGIN SELECT raise(ABORT, 'job: what its answers have to match never changes'); END;
