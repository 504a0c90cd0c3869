-- Identical requests of a job are sent once, where the job says so. The first of them is sent; the others are its twins: they
-- wait, and end as it does, with its result and at no cost.

-- dedupe: 1: so it is. twins: requests that are not sent; twins_waiting: those of them that are `queued`; twins_succeeded:
-- those that have succeeded, which no line of the ledger has.
ALTER TABLE job ADD COLUMN dedupe INTEGER NOT NULL DEFAULT 0 CHECK (dedupe IN (0, 1));
ALTER TABLE job ADD COLUMN twins INTEGER NOT NULL DEFAULT 0 CHECK (twins >= 0);
ALTER TABLE job ADD COLUMN twins_waiting INTEGER NOT NULL DEFAULT 0 CHECK (twins_waiting >= 0 AND twins_waiting <= queued);
ALTER TABLE job ADD COLUMN twins_succeeded INTEGER NOT NULL DEFAULT 0 CHECK (twins_succeeded >= 0);

-- The request, of the same job and handed in before, that has the same params; NULL: this one is sent itself.
ALTER TABLE request ADD COLUMN twin_of INTEGER;
CREATE INDEX request_twin ON request (twin_of, state) WHERE twin_of IS NOT NULL;
CREATE TRIGGER request_twin_kept BEFORE UPDATE OF twin_of ON request WHEN OLD.twin_of IS NOT NULL
BEGIN SELECT raise(ABORT, 'request: whose twin it is never changes'); END;

-- What tells identical params: while an import runs, and as long as a job is open. As `known_id`: in sorted runs, as digests
-- come in no order; run 0 is the one that an open job grows in.
CREATE TABLE fingerprint (
  job_id     INTEGER NOT NULL,
  run        INTEGER NOT NULL,
  digest     TEXT    NOT NULL,
  request_id INTEGER NOT NULL,
  PRIMARY KEY (job_id, run, digest, request_id)
) STRICT, WITHOUT ROWID;

-- A twin is in no batch that is under way, goes from `queued` to where its original is, and shows the original's result.
DROP TRIGGER request_step;
CREATE TRIGGER request_step BEFORE UPDATE OF state ON request
WHEN (OLD.state = 'queued' AND NEW.state = 'succeeded' AND NEW.twin_of IS NULL)
  OR (OLD.state = 'batched' AND NEW.state <> 'queued' AND NEW.batch_id IS NOT OLD.batch_id)
  OR (NEW.state = 'batched' AND NEW.twin_of IS NOT NULL)
BEGIN SELECT raise(ABORT, 'request: no such step'); END;
CREATE TRIGGER request_follows BEFORE UPDATE OF state ON request
WHEN NEW.twin_of IS NOT NULL AND NEW.state <> 'queued' AND NEW.state IS NOT (SELECT state FROM request WHERE id = NEW.twin_of)
BEGIN SELECT raise(ABORT, 'request: a twin ends as its original does'); END;
DROP TRIGGER request_answered;
CREATE TRIGGER request_answered BEFORE UPDATE OF result_id ON request
WHEN NEW.result_id IS NOT NULL
 AND coalesce(NEW.twin_of, NEW.id) IS NOT (SELECT request_id FROM result WHERE id = NEW.result_id)
BEGIN SELECT raise(ABORT, 'request: the result is of another request'); END;
