-- What each answer cost, and the sums of it. Money is whole nano-dollars; NULL is a cost that nobody knows, never 0.

-- The rates of a batch of one model on one day (UTC, of the batch's creation at the API), as they were when an answer was
-- priced. model: as the answer names it, '' if it names none or was not read. rates: JSON (store/ledger.py); NULL: not known.
CREATE TABLE price (
  id     INTEGER PRIMARY KEY AUTOINCREMENT,
  model  TEXT NOT NULL,
  geo    TEXT NOT NULL,                                    -- `inference_geo`, '' if the answer does not say
  day    TEXT NOT NULL,
  rates  TEXT,
  source TEXT NOT NULL                                     -- where the rates come from
) STRICT;
CREATE UNIQUE INDEX price_once ON price (day, model, geo, source, coalesce(rates, ''));
CREATE TRIGGER price_fixed BEFORE UPDATE ON price BEGIN SELECT raise(ABORT, 'price: never changes'); END;
CREATE TRIGGER price_kept BEFORE DELETE ON price BEGIN SELECT raise(ABORT, 'price: never deleted'); END;

-- Sums, kept in the transaction that stores what they are of. kind: kept (the answers of successes), retried (answers that
-- were paid for and are no success), late (of a batch that was given up, and existed), assumed (never came). Tokens are those that
-- are billed, as far as they are known; unpriced: of the requests, those whose cost is not known.
CREATE TABLE ledger (
  batch_id   INTEGER NOT NULL REFERENCES batch (id),
  price_id   INTEGER NOT NULL REFERENCES price (id),
  kind       TEXT    NOT NULL CHECK (kind IN ('kept', 'retried', 'late', 'assumed')),
  requests   INTEGER NOT NULL CHECK (requests >= 0),
  input      INTEGER NOT NULL CHECK (input >= 0),
  output     INTEGER NOT NULL CHECK (output >= 0),
  write_5m   INTEGER NOT NULL CHECK (write_5m >= 0),
  write_1h   INTEGER NOT NULL CHECK (write_1h >= 0),
  read       INTEGER NOT NULL CHECK (read >= 0),
  searches   INTEGER NOT NULL CHECK (searches >= 0),
  cost_nanos INTEGER NOT NULL CHECK (cost_nanos >= 0),
  unpriced   INTEGER NOT NULL CHECK (unpriced >= 0),
  PRIMARY KEY (batch_id, price_id, kind)
) STRICT, WITHOUT ROWID;
CREATE INDEX ledger_price ON ledger (price_id);
CREATE TRIGGER ledger_kept BEFORE DELETE ON ledger BEGIN SELECT raise(ABORT, 'ledger: never deleted'); END;

-- What was answered before has a cost that is not known, until a person asks for it.
INSERT INTO price (model, geo, day, rates, source)
SELECT DISTINCT '', '', substr(created_at, 1, 10), NULL, '' FROM batch WHERE state IN ('ended', 'settled');
INSERT INTO ledger
SELECT batch.id, price.id, 'kept', found.count, 0, 0, 0, 0, 0, 0, 0, found.count
  FROM (SELECT batch_id, count(*) AS count FROM request WHERE state = 'succeeded' GROUP BY batch_id) AS found
  JOIN batch ON batch.id = found.batch_id JOIN price ON price.day = substr(batch.created_at, 1, 10);

-- The cost of a success lies with its result, that of every other answer with its attempt, which no retry takes away. A
-- result of a failure has none: price and cost are NULL. extra: what other models were billed for in the same answer, as JSON.
ALTER TABLE result ADD COLUMN price_id INTEGER;
ALTER TABLE result ADD COLUMN cost_nanos INTEGER;
ALTER TABLE result ADD COLUMN searches INTEGER;
ALTER TABLE result ADD COLUMN extra TEXT;

-- Attempts as a rule cost nothing: the API bills no error, no expiry and no cancellation.
ALTER TABLE attempt ADD COLUMN input_tokens INTEGER;
ALTER TABLE attempt ADD COLUMN output_tokens INTEGER;
ALTER TABLE attempt ADD COLUMN cache_read_tokens INTEGER;
ALTER TABLE attempt ADD COLUMN cache_write_5m_tokens INTEGER;
ALTER TABLE attempt ADD COLUMN cache_write_1h_tokens INTEGER;
ALTER TABLE attempt ADD COLUMN price_id INTEGER;
ALTER TABLE attempt ADD COLUMN cost_nanos INTEGER DEFAULT 0;
ALTER TABLE attempt ADD COLUMN searches INTEGER;
ALTER TABLE attempt ADD COLUMN extra TEXT;

-- The sums of a job's lines.
ALTER TABLE job ADD COLUMN spent_nanos INTEGER NOT NULL DEFAULT 0 CHECK (spent_nanos >= 0);
ALTER TABLE job ADD COLUMN unpriced INTEGER NOT NULL DEFAULT 0 CHECK (unpriced >= 0);
UPDATE job SET unpriced = found.count
  FROM (SELECT job_id, sum(unpriced) AS count FROM ledger JOIN batch ON batch.id = batch_id GROUP BY job_id) AS found
 WHERE found.job_id = job.id;

-- A result never changes, but for a cost that was not known and is found later. So with attempts.
DROP TRIGGER result_frozen;
CREATE TRIGGER result_frozen
BEFORE UPDATE OF id, request_id, input_tokens, output_tokens, body, cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens
ON result BEGIN SELECT raise(ABORT, 'result: never changes'); END;
CREATE TRIGGER result_priced BEFORE UPDATE OF price_id, cost_nanos, searches, extra ON result WHEN OLD.cost_nanos IS NOT NULL
BEGIN SELECT raise(ABORT, 'result: its cost never changes'); END;
CREATE TRIGGER attempt_priced
BEFORE UPDATE OF input_tokens, output_tokens, cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens, price_id,
                 cost_nanos, searches, extra ON attempt WHEN OLD.cost_nanos IS NOT NULL
BEGIN SELECT raise(ABORT, 'attempt: append-only'); END;
