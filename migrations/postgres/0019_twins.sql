-- Identical requests of a job are sent once, where the job says so: SQLite's file of this name says what everything means.
--
-- A daemon of the version before that meets such a job would put its twins into a batch: `request_step` ends it there.

ALTER TABLE job ADD COLUMN dedupe bigint NOT NULL DEFAULT 0 CHECK (dedupe IN (0, 1));
ALTER TABLE job ADD COLUMN twins bigint NOT NULL DEFAULT 0 CHECK (twins >= 0);
ALTER TABLE job ADD COLUMN twins_waiting bigint NOT NULL DEFAULT 0 CHECK (twins_waiting >= 0 AND twins_waiting <= queued);
ALTER TABLE job ADD COLUMN twins_succeeded bigint NOT NULL DEFAULT 0 CHECK (twins_succeeded >= 0);

ALTER TABLE request ADD COLUMN twin_of bigint;
CREATE INDEX request_twin ON request (twin_of, state, id) WHERE twin_of IS NOT NULL;
CREATE TRIGGER request_twin_kept BEFORE UPDATE OF twin_of ON request
FOR EACH ROW WHEN (OLD.twin_of IS NOT NULL) EXECUTE FUNCTION refuse('request: whose twin it is never changes');

CREATE TABLE fingerprint (
  job_id     bigint NOT NULL,
  run        bigint NOT NULL,
  digest     utext  NOT NULL,
  request_id bigint NOT NULL,
  PRIMARY KEY (job_id, run, digest, request_id)
);

DROP TRIGGER request_step ON request;
CREATE TRIGGER request_step BEFORE UPDATE OF state ON request
FOR EACH ROW WHEN ((OLD.state = 'queued' AND NEW.state = 'succeeded' AND NEW.twin_of IS NULL)
  OR (OLD.state = 'batched' AND NEW.state <> 'queued' AND NEW.batch_id IS DISTINCT FROM OLD.batch_id)
  OR (NEW.state = 'batched' AND NEW.twin_of IS NOT NULL))
EXECUTE FUNCTION refuse('request: no such step');

-- As it was, and what a file has in `request_follows`.
CREATE OR REPLACE FUNCTION request_changed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  sum record;
BEGIN
  IF EXISTS (SELECT FROM new_rows
              WHERE result_id IS NOT NULL
                AND coalesce(twin_of, id) IS DISTINCT FROM (SELECT request_id FROM orchestrator.result WHERE result.id = result_id)) THEN
    RAISE EXCEPTION 'request: the result is of another request' USING ERRCODE = '23000';
  END IF;
  IF EXISTS (SELECT FROM (SELECT DISTINCT batch_id AS id FROM new_rows WHERE batch_id IS NOT NULL) AS named
              WHERE (SELECT id FROM orchestrator.batch WHERE batch.id = named.id) IS NULL) THEN
    RAISE EXCEPTION 'request: there is no such batch' USING ERRCODE = '23503';
  END IF;
  IF EXISTS (SELECT FROM new_rows
              WHERE twin_of IS NOT NULL AND state <> 'queued'
                AND state IS DISTINCT FROM (SELECT state FROM orchestrator.request WHERE request.id = new_rows.twin_of)) THEN
    RAISE EXCEPTION 'request: a twin ends as its original does' USING ERRCODE = '23000';
  END IF;
  -- The edges queued -> batched and batched -> succeeded, and queued -> succeeded of a twin, are counted by a statement of the program, as on SQLite.
  IF NOT EXISTS (SELECT FROM new_rows WHERE state NOT IN ('batched', 'succeeded')) THEN
    RETURN NULL;
  END IF;
  FOR sum IN
    SELECT job, count(*) FILTER (WHERE now = 'queued') - count(*) FILTER (WHERE was = 'queued') AS queued,
           count(*) FILTER (WHERE was = 'batched') AS unbatched,
           count(*) FILTER (WHERE now = 'failed') - count(*) FILTER (WHERE was = 'failed') AS failed,
           count(*) FILTER (WHERE now = 'canceled') - count(*) FILTER (WHERE was = 'canceled') AS canceled,
           count(*) FILTER (WHERE now = 'queued' AND is_burnt) AS resubmitted
      FROM (SELECT new_rows.id >> 32 AS job, old_rows.state AS was, new_rows.state AS now,
                   new_rows.attempts > old_rows.attempts AS is_burnt
              FROM old_rows FULL JOIN new_rows ON new_rows.id = old_rows.id
            OFFSET 0) AS edge  -- a fence: WHERE would make another join of it
     WHERE was <> now AND now NOT IN ('batched', 'succeeded')
     GROUP BY job
  LOOP
    UPDATE orchestrator.job
       SET queued = job.queued + sum.queued, batched = batched - sum.unbatched, failed = job.failed + sum.failed,
           canceled = job.canceled + sum.canceled, resubmitted = job.resubmitted + sum.resubmitted
     WHERE id = sum.job;
  END LOOP;
  RETURN NULL;
END $$;
