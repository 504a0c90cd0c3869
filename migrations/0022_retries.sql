-- Requests that are tried again as a person says: also for another answer than the one that is there, and with other params.

-- What is changed of the params that were handed in. spec: JSON, {"set": {key: value}, "drop": [key]}; NULL: it went with its
-- purged job. digest: of the spec, by which requests that are changed alike share a row.
CREATE TABLE param_change (
  id     INTEGER PRIMARY KEY AUTOINCREMENT,
  job_id INTEGER NOT NULL REFERENCES job (id),
  digest TEXT    NOT NULL,
  spec   TEXT
) STRICT;
CREATE UNIQUE INDEX param_change_once ON param_change (job_id, digest);
CREATE TRIGGER param_change_fixed BEFORE UPDATE OF id, job_id, digest ON param_change
BEGIN SELECT raise(ABORT, 'param_change: never changes'); END;
CREATE TRIGGER param_change_spec BEFORE UPDATE OF spec ON param_change WHEN NEW.spec IS NOT NULL
BEGIN SELECT raise(ABORT, 'param_change: never changes'); END;
CREATE TRIGGER param_change_kept BEFORE DELETE ON param_change
BEGIN SELECT raise(ABORT, 'param_change: never deleted'); END;

-- How the params that are stored are changed when they are read to be sent; NULL: not at all. params_bytes: as they are sent. Of
-- a twin both say what was handed in: it is not sent, and goes by what its original says.
ALTER TABLE request ADD COLUMN change_id INTEGER;

-- What is sent changes with a retry alone, never in a batch.
DROP TRIGGER request_identity;
CREATE TRIGGER request_identity BEFORE UPDATE OF id, custom_id, line ON request
BEGIN SELECT raise(ABORT, 'request: what was handed in never changes'); END;
CREATE TRIGGER request_params BEFORE UPDATE OF params_bytes, change_id ON request
WHEN NOT (NEW.state = 'queued' AND NEW.retries = OLD.retries + 1)
BEGIN SELECT raise(ABORT, 'request: its params change with a retry alone'); END;

-- A settled request is frozen until a person asks to retry it; a success as well. Its answer becomes an attempt ('replaced').
DROP TRIGGER request_frozen;
CREATE TRIGGER request_frozen BEFORE UPDATE ON request
WHEN OLD.state IN ('succeeded', 'failed', 'canceled') AND NOT (NEW.state = 'queued' AND NEW.retries = OLD.retries + 1)
BEGIN SELECT raise(ABORT, 'request: settled is settled'); END;
DROP TRIGGER request_moved;
CREATE TRIGGER request_moved AFTER UPDATE OF state ON request
WHEN OLD.state <> NEW.state AND NEW.state <> 'succeeded' AND NEW.state <> 'batched'
BEGIN
  UPDATE job
     SET queued    = queued    - (OLD.state = 'queued')    + (NEW.state = 'queued'),
         batched   = batched   - (OLD.state = 'batched'),
         succeeded = succeeded - (OLD.state = 'succeeded'),
         failed    = failed    - (OLD.state = 'failed')    + (NEW.state = 'failed'),
         canceled  = canceled  - (OLD.state = 'canceled')  + (NEW.state = 'canceled'),
         resubmitted = resubmitted + (NEW.state = 'queued' AND NEW.attempts > OLD.attempts)
   WHERE id = NEW.id >> 32;
END;

-- So a count of stop reasons goes down, too, and its row goes with the last.
DROP TRIGGER stop_count_up;
DROP TRIGGER stop_count_kept;
CREATE TRIGGER stop_count_fixed BEFORE UPDATE OF job_id, stop ON stop_count
BEGIN SELECT raise(ABORT, 'stop_count: what it counts never changes'); END;
