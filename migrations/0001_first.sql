-- The first schema. Times are ISO-8601 UTC text of fixed width (they compare as text); sizes are bytes.
-- What must never be true is a CHECK, a UNIQUE index or a trigger here, not a promise of the code above.

CREATE TABLE meta (
  id               INTEGER PRIMARY KEY CHECK (id = 1),
  lineage          TEXT    NOT NULL,                       -- random, made once: tells a restored or copied store apart
  created_at       TEXT    NOT NULL,
  sandbox          INTEGER NOT NULL CHECK (sandbox IN (0, 1)),
  spread           INTEGER NOT NULL CHECK (spread BETWEEN 1 AND 999),  -- full batches have 100,000 minus this
  duplicates_total INTEGER NOT NULL DEFAULT 0 CHECK (duplicates_total >= 0)
) STRICT;

CREATE TABLE job (
  id           INTEGER PRIMARY KEY AUTOINCREMENT,
  public_id    TEXT    NOT NULL UNIQUE,
  name         TEXT    NOT NULL CHECK (name <> ''),
  state        TEXT    NOT NULL CHECK (state IN ('importing', 'running', 'paused', 'canceling', 'finished', 'canceled')),
  reason_code  TEXT,                                       -- why it is paused, for programs
  reason       TEXT,                                       -- and for people, with what to do
  source       TEXT    NOT NULL,                           -- absolute path, or '<stdin>', '<library>', …
  content_hash TEXT,                                       -- sha256 of the input, decompressed
  source_bytes INTEGER,
  api_version  TEXT    NOT NULL,
  betas        TEXT    NOT NULL,                           -- sorted, comma-separated; '' for none
  priority     INTEGER NOT NULL CHECK (priority BETWEEN 1 AND 100),
  still_open   INTEGER NOT NULL CHECK (still_open IN (0, 1)),  -- more requests may come (library)
  added_at     TEXT    NOT NULL,                           -- when requests last came in
  resumes      INTEGER NOT NULL DEFAULT 0 CHECK (resumes >= 0),
  created_at   TEXT    NOT NULL,
  finished_at  TEXT,
  fence        INTEGER NOT NULL DEFAULT 0,
  -- kept by the triggers below, never by application arithmetic
  total        INTEGER NOT NULL DEFAULT 0,
  queued       INTEGER NOT NULL DEFAULT 0 CHECK (queued >= 0),
  batched      INTEGER NOT NULL DEFAULT 0 CHECK (batched >= 0),
  succeeded    INTEGER NOT NULL DEFAULT 0 CHECK (succeeded >= 0),
  failed       INTEGER NOT NULL DEFAULT 0 CHECK (failed >= 0),
  canceled     INTEGER NOT NULL DEFAULT 0 CHECK (canceled >= 0),
  resubmitted  INTEGER NOT NULL DEFAULT 0 CHECK (resubmitted >= 0),  -- trips that burnt an attempt and were repeated
  CHECK (total = queued + batched + succeeded + failed + canceled),
  CHECK ((state IN ('finished', 'canceled')) = (finished_at IS NOT NULL)),
  CHECK (state NOT IN ('finished', 'canceled') OR queued + batched = 0),
  CHECK ((state = 'paused') = (reason_code IS NOT NULL)),
  CHECK (state = 'importing' OR content_hash IS NOT NULL OR still_open = 1)
) STRICT;
CREATE INDEX job_content ON job (content_hash) WHERE content_hash IS NOT NULL;

CREATE TABLE batch (
  id            INTEGER PRIMARY KEY AUTOINCREMENT,
  job_id        INTEGER NOT NULL REFERENCES job (id),
  nonce         TEXT    NOT NULL UNIQUE CHECK (length(nonce) = 20),
  state         TEXT    NOT NULL CHECK (state IN ('planned', 'submitting', 'in_doubt', 'in_progress', 'canceling',
                                                  'ended', 'settled', 'void', 'abandoned')),
  count         INTEGER NOT NULL CHECK (count BETWEEN 1 AND 100000),
  size_bytes    INTEGER NOT NULL CHECK (size_bytes BETWEEN 1 AND 256000000),
  digest        TEXT    NOT NULL,                          -- of the members' numbers and sizes, as planned
  api_version   TEXT    NOT NULL,
  betas         TEXT    NOT NULL,
  planned_at    TEXT    NOT NULL,
  resumes       INTEGER,                                   -- the job's resume counter when it was sent
  -- narrowing down (promise 4)
  parent_id     INTEGER REFERENCES batch (id),
  depth         INTEGER NOT NULL CHECK (depth >= 0),
  cuts          INTEGER NOT NULL DEFAULT 0,                -- bodies cut in a row before their last byte
  refusal       TEXT,                                      -- the words of an unnamed 400, kept for its sibling
  -- the cursor: what the API listed before the POST; the API's clock only
  cursor_id         TEXT,
  cursor_created_at TEXT,
  cursor_date       TEXT,
  organization  TEXT,
  workspace     TEXT,
  sent_at       TEXT,                                      -- intent committed
  -- doubt
  doubt_since   TEXT,                                      -- our clock; starts again with each process
  doubt_date    TEXT,                                      -- the API's Date at its first answer after discovery
  doubt_until   TEXT,                                      -- the API's Date when the wait ended: closes the candidates
  doubt_looks   INTEGER NOT NULL DEFAULT 0,                -- looks in a row that found nobody
  closed_date   TEXT,                                      -- the API's Date when it became void or abandoned
  swept         INTEGER NOT NULL DEFAULT 0 CHECK (swept IN (0, 1)),
  -- at the API
  remote_id     TEXT    UNIQUE,
  created_at    TEXT,
  expires_at    TEXT,
  cancel_asked_at TEXT,
  ended_at      TEXT,
  api_succeeded INTEGER,
  api_errored   INTEGER,
  api_canceled  INTEGER,
  api_expired   INTEGER,
  -- collecting
  downloads     INTEGER NOT NULL DEFAULT 0,                -- full downloads
  download_tries INTEGER NOT NULL DEFAULT 0,
  first_download_date TEXT,                                -- the API's Date at the first full download
  download_due_at TEXT,
  collected     INTEGER NOT NULL DEFAULT 0 CHECK (collected IN (0, 1)),
  settled_at    TEXT,
  deleted_at    TEXT,
  adopted       INTEGER NOT NULL DEFAULT 0 CHECK (adopted IN (0, 1)),  -- made elsewhere: its wire ids are the users' own
  fence         INTEGER NOT NULL DEFAULT 0,
  CHECK (state NOT IN ('in_progress', 'canceling', 'ended', 'settled') OR (remote_id IS NOT NULL AND created_at IS NOT NULL)),
  CHECK (state NOT IN ('planned', 'submitting', 'in_doubt') OR remote_id IS NULL),
  CHECK (state = 'planned' OR state = 'abandoned' OR (sent_at IS NOT NULL AND cursor_date IS NOT NULL)),
  CHECK (state <> 'in_doubt' OR doubt_since IS NOT NULL),
  CHECK (state NOT IN ('ended', 'settled') OR ended_at IS NOT NULL),
  CHECK ((state = 'settled') = (settled_at IS NOT NULL)),
  CHECK (state <> 'settled' OR collected = 1),
  CHECK (refusal IS NULL OR state IN ('planned', 'abandoned'))
) STRICT;
CREATE INDEX batch_job ON batch (job_id, state);
CREATE INDEX batch_state ON batch (state);
CREATE INDEX batch_sweep ON batch (id) WHERE state IN ('void', 'abandoned') AND swept = 0 AND sent_at IS NOT NULL;
CREATE INDEX batch_delete ON batch (id) WHERE state = 'settled' AND deleted_at IS NULL;
CREATE INDEX batch_parent ON batch (parent_id) WHERE parent_id IS NOT NULL;

-- id = job << 32 | number: a job's requests lie together, in file order, and payload and result share the key.
CREATE TABLE request (
  id             INTEGER PRIMARY KEY,
  job_id         INTEGER GENERATED ALWAYS AS (id >> 32) VIRTUAL,
  custom_id      TEXT    NOT NULL CHECK (custom_id <> ''),
  line           INTEGER NOT NULL,
  params_bytes   INTEGER NOT NULL CHECK (params_bytes > 0),
  state          TEXT    NOT NULL CHECK (state IN ('queued', 'batched', 'succeeded', 'failed', 'canceled')),
  attempts       INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
  retries        INTEGER NOT NULL DEFAULT 0 CHECK (retries >= 0),   -- times a person asked to try it again
  batch_id       INTEGER REFERENCES batch (id),
  error_type     TEXT,
  error_message  TEXT,
  api_request_id TEXT,
  input_tokens   INTEGER,
  output_tokens  INTEGER,
  CHECK (state <> 'queued' OR batch_id IS NULL),
  CHECK (state NOT IN ('batched', 'succeeded') OR batch_id IS NOT NULL),
  CHECK (state <> 'failed' OR error_type IS NOT NULL)
) STRICT;
CREATE UNIQUE INDEX request_custom_id ON request (job_id, custom_id);
CREATE INDEX request_queued ON request (job_id) WHERE state = 'queued';
CREATE INDEX request_batch ON request (batch_id) WHERE batch_id IS NOT NULL;
CREATE INDEX request_failed ON request (job_id, error_type) WHERE state = 'failed';

-- Bulk, apart from the hot rows. A block holds the params of `count` neighbours, compressed together, so that a
-- prefix they share is stored once. Inside (after zstd): count little-endian 32-bit lengths, then the params.
CREATE TABLE payload (
  first_id INTEGER PRIMARY KEY,
  count    INTEGER NOT NULL CHECK (count >= 1),
  data     BLOB    NOT NULL
) STRICT;

-- The API's own `result` object, byte for byte; one per request. Rows lie in the order of arrival: results come
-- shuffled, and filing 1 kB bodies by request would dirty a page for each (measured: 50 against 20 us per result).
CREATE TABLE result (
  id         INTEGER PRIMARY KEY,
  request_id INTEGER NOT NULL UNIQUE REFERENCES request (id),
  body       BLOB NOT NULL
) STRICT;

-- One row per trip that did not succeed, and why.
CREATE TABLE attempt (
  batch_id       INTEGER NOT NULL REFERENCES batch (id),
  request_id     INTEGER NOT NULL REFERENCES request (id),
  kind           TEXT    NOT NULL,                         -- the API's result type: errored, expired, canceled, …
  outcome        TEXT    NOT NULL CHECK (outcome IN ('failed', 'again', 'credit', 'canceled')),
  error_type     TEXT,
  error_message  TEXT,
  api_request_id TEXT,
  at             TEXT    NOT NULL,
  body           BLOB,                                     -- the result object, for the day attempts run out
  PRIMARY KEY (batch_id, request_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX attempt_request ON attempt (request_id);

-- Remote batches that might be ours: what is known of each, and for which doubts they were candidates.
CREATE TABLE remote (
  remote_id        TEXT PRIMARY KEY,
  count            INTEGER NOT NULL,
  created_at       TEXT    NOT NULL,
  verdict          TEXT    NOT NULL CHECK (verdict IN ('unproven', 'ours', 'foreign', 'unprovable')),
  batch_id         INTEGER REFERENCES batch (id),
  unreadable_since TEXT,                                   -- the API's Date
  CHECK ((verdict = 'ours') = (batch_id IS NOT NULL))
) STRICT, WITHOUT ROWID;
CREATE TABLE candidate (
  batch_id  INTEGER NOT NULL REFERENCES batch (id),
  remote_id TEXT    NOT NULL REFERENCES remote (remote_id),
  PRIMARY KEY (batch_id, remote_id)
) STRICT, WITHOUT ROWID;
-- Results of a batch that was thought void and turned out to be ours: kept, never mixed in.
CREATE TABLE spare (
  remote_id TEXT    NOT NULL REFERENCES remote (remote_id),
  number    INTEGER NOT NULL,
  body      BLOB    NOT NULL,
  PRIMARY KEY (remote_id, number)
) STRICT, WITHOUT ROWID;

-- Waits that the API asked for, and the streak of refusals that a create is in.
CREATE TABLE gate (
  name   TEXT PRIMARY KEY,
  set_at TEXT    NOT NULL,
  until  TEXT    NOT NULL,
  tries  INTEGER NOT NULL CHECK (tries >= 1),
  why    TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE attention (
  job_id   INTEGER NOT NULL REFERENCES job (id),
  kind     TEXT    NOT NULL,
  batch_id INTEGER NOT NULL,                               -- 0: the job as a whole
  message  TEXT    NOT NULL,
  since    TEXT    NOT NULL,
  PRIMARY KEY (job_id, kind, batch_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE refused_line (
  job_id  INTEGER NOT NULL REFERENCES job (id),
  line    INTEGER NOT NULL,
  field   TEXT    NOT NULL,
  problem TEXT    NOT NULL,
  remedy  TEXT    NOT NULL,
  raw     BLOB    NOT NULL
) STRICT;
CREATE INDEX refused_line_job ON refused_line (job_id, line);

-- Who moved what, when and why; jobs and batches only. Append-only.
CREATE TABLE event (
  id       INTEGER PRIMARY KEY AUTOINCREMENT,
  at       TEXT NOT NULL,
  job_id   INTEGER,
  batch_id INTEGER,
  kind     TEXT NOT NULL,
  old      TEXT,
  new      TEXT,
  why      TEXT
) STRICT;
CREATE INDEX event_job ON event (job_id, id);

-- The transition tables of the domain, so that the schema can refuse an impossible step (a test compares them).
CREATE TABLE step (
  machine TEXT NOT NULL CHECK (machine IN ('job', 'batch')),
  old     TEXT NOT NULL,
  new     TEXT NOT NULL,
  PRIMARY KEY (machine, old, new)
) STRICT, WITHOUT ROWID;
INSERT INTO step VALUES
  ('job', 'importing', 'running'),
  ('job', 'running', 'paused'), ('job', 'running', 'canceling'), ('job', 'running', 'finished'),
  ('job', 'paused', 'running'), ('job', 'paused', 'canceling'), ('job', 'paused', 'finished'),
  ('job', 'canceling', 'canceled'),
  ('job', 'finished', 'running'), ('job', 'canceled', 'running'),
  ('batch', 'planned', 'submitting'), ('batch', 'planned', 'abandoned'),
  ('batch', 'submitting', 'planned'), ('batch', 'submitting', 'in_progress'), ('batch', 'submitting', 'in_doubt'),
  ('batch', 'submitting', 'abandoned'),
  ('batch', 'in_doubt', 'in_progress'), ('batch', 'in_doubt', 'void'),
  ('batch', 'in_progress', 'canceling'), ('batch', 'in_progress', 'ended'),
  ('batch', 'canceling', 'ended'),
  ('batch', 'ended', 'settled');

CREATE TRIGGER meta_identity BEFORE UPDATE OF id, lineage, created_at, sandbox, spread ON meta
BEGIN SELECT raise(ABORT, 'meta: who a store is never changes'); END;
CREATE TRIGGER meta_kept BEFORE DELETE ON meta BEGIN SELECT raise(ABORT, 'meta: never deleted'); END;

CREATE TRIGGER job_step BEFORE UPDATE OF state ON job
WHEN OLD.state <> NEW.state AND NOT EXISTS (SELECT 1 FROM step WHERE machine = 'job' AND old = OLD.state AND new = NEW.state)
BEGIN SELECT raise(ABORT, 'job: no such step'); END;

CREATE TRIGGER batch_step BEFORE UPDATE OF state ON batch
WHEN OLD.state <> NEW.state AND NOT EXISTS (SELECT 1 FROM step WHERE machine = 'batch' AND old = OLD.state AND new = NEW.state)
BEGIN SELECT raise(ABORT, 'batch: no such step'); END;

-- Only an import that was given up may go, and only after its requests.
CREATE TRIGGER job_kept BEFORE DELETE ON job WHEN OLD.state <> 'importing' OR OLD.total > 0
BEGIN SELECT raise(ABORT, 'job: never deleted'); END;
CREATE TRIGGER batch_kept BEFORE DELETE ON batch BEGIN SELECT raise(ABORT, 'batch: never deleted'); END;

CREATE TRIGGER batch_identity BEFORE UPDATE OF nonce, job_id, count, size_bytes, digest, api_version, betas ON batch
BEGIN SELECT raise(ABORT, 'batch: what was planned never changes'); END;

CREATE TRIGGER batch_remote BEFORE UPDATE OF remote_id ON batch WHEN OLD.remote_id IS NOT NULL AND OLD.remote_id IS NOT NEW.remote_id
BEGIN SELECT raise(ABORT, 'batch: its remote id never changes'); END;

CREATE TRIGGER request_born BEFORE INSERT ON request WHEN NEW.state <> 'queued'
BEGIN SELECT raise(ABORT, 'request: begins as queued'); END;

CREATE TRIGGER request_counted AFTER INSERT ON request
BEGIN
  UPDATE job SET total = total + 1, queued = queued + 1
   WHERE id = NEW.id >> 32 AND (state = 'importing' OR (still_open = 1 AND state IN ('running', 'paused')));
  SELECT raise(ABORT, 'request: its job takes none') WHERE changes() = 0;
END;

CREATE TRIGGER request_moved AFTER UPDATE OF state ON request WHEN OLD.state <> NEW.state
BEGIN
  UPDATE job
     SET queued    = queued    - (OLD.state = 'queued')    + (NEW.state = 'queued'),
         batched   = batched   - (OLD.state = 'batched')   + (NEW.state = 'batched'),
         succeeded = succeeded - (OLD.state = 'succeeded') + (NEW.state = 'succeeded'),
         failed    = failed    - (OLD.state = 'failed')    + (NEW.state = 'failed'),
         canceled  = canceled  - (OLD.state = 'canceled')  + (NEW.state = 'canceled'),
         resubmitted = resubmitted + (NEW.state = 'queued' AND NEW.attempts > OLD.attempts)
   WHERE id = NEW.id >> 32;
END;

-- Only an import that was given up may take its requests away again.
CREATE TRIGGER request_kept BEFORE DELETE ON request
WHEN (SELECT state FROM job WHERE id = OLD.id >> 32) <> 'importing'
BEGIN SELECT raise(ABORT, 'request: never deleted'); END;
CREATE TRIGGER request_uncounted AFTER DELETE ON request
BEGIN UPDATE job SET total = total - 1, queued = queued - 1 WHERE id = OLD.id >> 32; END;

-- A settled request is frozen: success for ever, failure and cancellation until a person asks to retry.
CREATE TRIGGER request_frozen BEFORE UPDATE ON request
WHEN OLD.state = 'succeeded'
  OR (OLD.state IN ('failed', 'canceled') AND NOT (NEW.state = 'queued' AND NEW.retries = OLD.retries + 1))
BEGIN SELECT raise(ABORT, 'request: settled is settled'); END;
-- Every other edge from `queued` and `batched` exists (a test compares with the domain's table).
CREATE TRIGGER request_step BEFORE UPDATE OF state ON request
WHEN (OLD.state = 'queued' AND NEW.state = 'succeeded')
  OR (OLD.state = 'batched' AND NEW.state <> 'queued' AND NEW.batch_id IS NOT OLD.batch_id)
BEGIN SELECT raise(ABORT, 'request: no such step'); END;
CREATE TRIGGER request_identity BEFORE UPDATE OF id, custom_id, line, params_bytes ON request
BEGIN SELECT raise(ABORT, 'request: what was handed in never changes'); END;

CREATE TRIGGER result_frozen BEFORE UPDATE ON result
BEGIN SELECT raise(ABORT, 'result: never changes'); END;
CREATE TRIGGER result_kept BEFORE DELETE ON result
WHEN (SELECT state FROM request WHERE id = OLD.request_id) <> 'queued'
BEGIN SELECT raise(ABORT, 'result: kept while its request is settled'); END;

CREATE TRIGGER attempt_append_only_u BEFORE UPDATE ON attempt BEGIN SELECT raise(ABORT, 'attempt: append-only'); END;
CREATE TRIGGER attempt_append_only_d BEFORE DELETE ON attempt BEGIN SELECT raise(ABORT, 'attempt: append-only'); END;

CREATE TRIGGER event_append_only_u BEFORE UPDATE ON event BEGIN SELECT raise(ABORT, 'event: append-only'); END;
CREATE TRIGGER event_append_only_d BEFORE DELETE ON event BEGIN SELECT raise(ABORT, 'event: append-only'); END;
