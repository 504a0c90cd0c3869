-- What a service needs of the store: a name for a hand-over that is repeated, bodies that may go when a job is long over,
-- and how busy it was over time.

-- The caller's own key of a hand-over: the same key again means the same job. key_content: what was handed in with it.
ALTER TABLE job ADD COLUMN key TEXT CHECK (key <> '');
ALTER TABLE job ADD COLUMN key_content TEXT CHECK ((key IS NULL) = (key_content IS NULL));
CREATE UNIQUE INDEX job_key ON job (key) WHERE key IS NOT NULL;
CREATE TRIGGER job_key_kept BEFORE UPDATE OF key, key_content ON job WHEN OLD.key IS NOT NULL
BEGIN SELECT raise(ABORT, 'job: its key never changes'); END;

-- A purged job has lost what was handed in and what was answered; its counts, ids, errors and history stay. The CHECK
-- also keeps it over: a retry would have nothing to send. purged_above: bodies up to this request are gone, the rest goes
-- slice by slice, after a crash as well; NULL: nothing is left.
ALTER TABLE job ADD COLUMN purged_at TEXT CHECK (purged_at IS NULL OR finished_at IS NOT NULL);
ALTER TABLE job ADD COLUMN purged_by TEXT
  CHECK (purged_by IN ('person', 'retention')) CHECK ((purged_by IS NULL) = (purged_at IS NULL));
ALTER TABLE job ADD COLUMN purged_above INTEGER CHECK (purged_above IS NULL OR purged_at IS NOT NULL);
CREATE INDEX job_purging ON job (id) WHERE purged_above IS NOT NULL;
CREATE TRIGGER job_purged BEFORE UPDATE OF purged_at, purged_by ON job WHEN OLD.purged_at IS NOT NULL
BEGIN SELECT raise(ABORT, 'job: what is purged stays purged'); END;

-- What may go, goes with a purged job alone. A request of one still shows the number of its result, which is gone: to
-- take that from a million rows would write every one of them again. Who reads a result asks whose it is.
DROP TRIGGER result_kept;
CREATE TRIGGER result_kept BEFORE DELETE ON result
WHEN OLD.id IS (SELECT result_id FROM request WHERE id = OLD.request_id)
 AND (SELECT purged_at FROM job WHERE id = OLD.request_id >> 32) IS NULL
BEGIN SELECT raise(ABORT, 'result: kept while its request is settled'); END;
CREATE TRIGGER payload_kept BEFORE DELETE ON payload
WHEN (SELECT state <> 'importing' AND purged_at IS NULL FROM job WHERE id = OLD.first_id >> 32)
BEGIN SELECT raise(ABORT, 'payload: kept with its job'); END;
DROP TRIGGER attempt_append_only_u;
CREATE TRIGGER attempt_append_only_u
BEFORE UPDATE OF batch_id, request_id, kind, outcome, error_type, error_message, api_request_id, at ON attempt
BEGIN SELECT raise(ABORT, 'attempt: append-only'); END;
CREATE TRIGGER attempt_body_kept BEFORE UPDATE OF body ON attempt
WHEN NEW.body IS NOT NULL OR (SELECT purged_at FROM job WHERE id = OLD.request_id >> 32) IS NULL
BEGIN SELECT raise(ABORT, 'attempt: append-only'); END;

-- Has only canceled requests: a few of them among a million are found at once.
CREATE INDEX request_canceled ON request (job_id) WHERE state = 'canceled';

-- How busy all jobs together were; written by the engine when it changed.
CREATE TABLE sample (
  at                 TEXT    PRIMARY KEY,
  queued             INTEGER NOT NULL,
  in_flight_requests INTEGER NOT NULL,
  in_flight_batches  INTEGER NOT NULL,
  settled            INTEGER NOT NULL,
  failed             INTEGER NOT NULL,
  resubmitted        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
