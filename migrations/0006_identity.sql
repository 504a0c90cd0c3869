-- A store that is older than what was sent from it must not buy again. Beside the database lies a mark (`<db>.mark`): who
-- the store is, and how many intents to POST were committed. Behind its mark, or moved away from it, a store sends nothing
-- until the API was asked what became of the batches that it knows nothing of.

-- secret: nonces carry a MAC under it, so that a batch proves whose it is and which job's requests it has, also to a store
-- that has forgotten it; made when the store is next opened. intents: how many were ever committed. line: made anew when
-- a copy is taken into use; the mark has it too. marked: a mark was written beside the file.
ALTER TABLE meta ADD COLUMN secret  TEXT    NOT NULL DEFAULT '';
ALTER TABLE meta ADD COLUMN intents INTEGER NOT NULL DEFAULT 0 CHECK (intents >= 0);
ALTER TABLE meta ADD COLUMN line    TEXT    NOT NULL DEFAULT '';
ALTER TABLE meta ADD COLUMN marked  INTEGER NOT NULL DEFAULT 0 CHECK (marked IN (0, 1));
UPDATE meta SET intents = (SELECT count(*) FROM batch WHERE sent_at IS NOT NULL);
CREATE TRIGGER meta_secret BEFORE UPDATE OF secret ON meta WHEN OLD.marked = 1
BEGIN SELECT raise(ABORT, 'meta: its secret never changes'); END;
CREATE TRIGGER meta_intents BEFORE UPDATE OF intents ON meta WHEN NEW.intents < OLD.intents
BEGIN SELECT raise(ABORT, 'meta: intents are never taken back'); END;

-- The searches at the API for what the store lacks; at most one is open, and while it is, nothing is planned or sent.
CREATE TABLE reconciliation (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  cause      TEXT    NOT NULL CHECK (cause IN ('behind', 'copied')),
  missing    INTEGER NOT NULL CHECK (missing >= 0),        -- intents that the mark knows of and the file does not
  found_at   TEXT    NOT NULL,
  since      TEXT,                                         -- the API's clock: nothing older is missing; NULL: unknown
  wait_since TEXT    NOT NULL,                             -- our clock; starts again with each process
  first_date TEXT,                                         -- the API's Date at its first answer after that
  until      TEXT,                                         -- the API's Date when the wait ended: what is newer is not ours
  looks      INTEGER NOT NULL DEFAULT 0 CHECK (looks >= 0), -- whole looks in a row that left nothing open
  open_jobs  TEXT    NOT NULL,                             -- JSON: last number of each job whose content is not known
  closed_at  TEXT
) STRICT;
CREATE UNIQUE INDEX reconciliation_open ON reconciliation (closed_at IS NULL) WHERE closed_at IS NULL;

-- Remote batches that carry a nonce of our form and that no row of `batch` knows: found by such a search. job_id: the job
-- whose requests it has, by the MAC; NULL: of no job that is here, until it is handed in again. numbers: little-endian
-- 32-bit numbers of its requests. up_to: larger ones are not what the job has under them. batch_id: it was taken in as this
-- batch. A job is not planned while one waits for it.
CREATE TABLE stray (
  remote_id  TEXT    PRIMARY KEY,
  nonce      TEXT    NOT NULL,
  count      INTEGER NOT NULL,
  created_at TEXT    NOT NULL,
  expires_at TEXT    NOT NULL,
  job_id     INTEGER REFERENCES job (id),
  numbers    BLOB,
  up_to      INTEGER,
  batch_id   INTEGER REFERENCES batch (id),
  dropped    INTEGER NOT NULL DEFAULT 0 CHECK (dropped IN (0, 1))  -- none of its requests waits for a result any more
) STRICT, WITHOUT ROWID;
CREATE INDEX stray_waiting ON stray (job_id) WHERE batch_id IS NULL AND dropped = 0;

-- A batch that was found there may hold requests, beside those that wait for it, that this store has otherwise.
ALTER TABLE batch ADD COLUMN partial INTEGER NOT NULL DEFAULT 0 CHECK (partial IN (0, 1));
