-- Less work per row where rows come by the thousand. Measured at 100,000 requests, per request: counting in triggers
-- 5 us; the index that found a result by its request 2 us; settling row by row instead of by one statement 3 us; the
-- insert trigger 1.3 us (any trigger makes SQLite copy each page that a row changes, in case it has to take it back).
-- Two guards of the first schema are given up for it, and held elsewhere: that a request begins as queued, by the only
-- INSERT there is (a test looks at its text); that a custom id is one of a kind in its job, by the look for repeats that
-- every import ends with, and by the look before each addition to an open job.

-- The custom ids of a job, in sorted runs that are only appended: an index over all of them is touched everywhere by ids
-- that come in no order (a million UUIDs took 30 s to take in, a million ids in order 5). Run 0 is the one that an open
-- job grows in; in it lies what an older store knows.
CREATE TABLE known_id (
  job_id     INTEGER NOT NULL,
  run        INTEGER NOT NULL,
  custom_id  TEXT    NOT NULL,
  request_id INTEGER NOT NULL,
  PRIMARY KEY (job_id, run, custom_id, request_id)
) STRICT, WITHOUT ROWID;
INSERT INTO known_id SELECT job_id, 0, custom_id, id FROM request ORDER BY job_id, custom_id;
DROP INDEX request_custom_id;
CREATE TRIGGER known_id_fixed BEFORE UPDATE ON known_id BEGIN SELECT raise(ABORT, 'known_id: never changes'); END;
CREATE TRIGGER known_id_kept BEFORE DELETE ON known_id
WHEN (SELECT state FROM job WHERE id = OLD.job_id) <> 'importing'
BEGIN SELECT raise(ABORT, 'known_id: never deleted'); END;

-- The three edges that move a whole chunk at once (handed in, queued -> batched, batched -> succeeded) are counted by
-- one statement beside the one that moves the rows, in the same transaction; the CHECKs of `job` hold the sum. Every
-- other edge is counted here, row by row.
DROP TRIGGER request_born;
DROP TRIGGER request_counted;
DROP TRIGGER request_moved;
CREATE TRIGGER request_moved AFTER UPDATE OF state ON request
WHEN OLD.state <> NEW.state AND NEW.state <> 'succeeded' AND NEW.state <> 'batched'
BEGIN
  UPDATE job
     SET queued    = queued    - (OLD.state = 'queued')    + (NEW.state = 'queued'),
         batched   = batched   - (OLD.state = 'batched'),
         failed    = failed    - (OLD.state = 'failed')    + (NEW.state = 'failed'),
         canceled  = canceled  - (OLD.state = 'canceled')  + (NEW.state = 'canceled'),
         resubmitted = resubmitted + (NEW.state = 'queued' AND NEW.attempts > OLD.attempts)
   WHERE id = NEW.id >> 32;
END;

-- A request shows its result by number; results still lie in the order of arrival, and what a result cost lies with it.
-- No foreign key points at a request: SQLite would search every result whenever an import is taken back.
DROP TRIGGER request_frozen;
DROP TRIGGER result_frozen;
DROP TRIGGER result_kept;
ALTER TABLE request ADD COLUMN result_id INTEGER;
UPDATE request SET result_id = (SELECT id FROM result WHERE result.request_id = request.id)
 WHERE state IN ('succeeded', 'failed');
CREATE TABLE arrived (
  id            INTEGER PRIMARY KEY,
  request_id    INTEGER NOT NULL,
  input_tokens  INTEGER,
  output_tokens INTEGER,
  body          BLOB NOT NULL
) STRICT;
INSERT INTO arrived (id, request_id, input_tokens, output_tokens, body)
SELECT result.id, request_id, input_tokens, output_tokens, body
  FROM result JOIN request ON request.id = result.request_id;
ALTER TABLE request DROP COLUMN input_tokens;
ALTER TABLE request DROP COLUMN output_tokens;
DROP TABLE result;
ALTER TABLE arrived RENAME TO result;

-- A settled request is frozen: success for ever, failure and cancellation until a person asks to retry.
CREATE TRIGGER request_frozen BEFORE UPDATE ON request
WHEN OLD.state = 'succeeded'
  OR (OLD.state IN ('failed', 'canceled') AND NOT (NEW.state = 'queued' AND NEW.retries = OLD.retries + 1))
BEGIN SELECT raise(ABORT, 'request: settled is settled'); END;
CREATE TRIGGER request_answered BEFORE UPDATE OF result_id ON request
WHEN NEW.result_id IS NOT NULL AND NEW.id IS NOT (SELECT request_id FROM result WHERE id = NEW.result_id)
BEGIN SELECT raise(ABORT, 'request: the result is of another request'); END;
CREATE TRIGGER request_unanswered BEFORE UPDATE OF state ON request
WHEN (NEW.state = 'succeeded') > (NEW.result_id IS NOT NULL)
BEGIN SELECT raise(ABORT, 'request: success without a result'); END;
CREATE TRIGGER result_frozen BEFORE UPDATE ON result
BEGIN SELECT raise(ABORT, 'result: never changes'); END;
CREATE TRIGGER result_kept BEFORE DELETE ON result
WHEN OLD.id IS (SELECT result_id FROM request WHERE id = OLD.request_id)
BEGIN SELECT raise(ABORT, 'result: kept while its request is settled'); END;
