-- Answers that do not match the schema of their job: attempts that were paid for, whose requests go again.

-- How many of its answers were invalid and sent for again since a person last asked to retry it. NULL: none, as of nearly all.
ALTER TABLE request ADD COLUMN invalid_answers INTEGER;

-- Two outcomes more: invalid (an answer that does not match the schema), replaced (an answer in whose place a person asked for
-- another). A CHECK cannot be changed where it stands, so the table is written anew; nothing else of it is.
CREATE TABLE passage (
  batch_id       INTEGER NOT NULL REFERENCES batch (id),
  request_id     INTEGER NOT NULL REFERENCES request (id),
  kind           TEXT    NOT NULL,                         -- the API's result type: errored, expired, canceled, succeeded, …
  outcome        TEXT    NOT NULL CHECK (outcome IN ('failed', 'again', 'credit', 'canceled', 'invalid', 'replaced')),
  error_type     TEXT,
  error_message  TEXT,
  api_request_id TEXT,
  at             TEXT    NOT NULL,
  body           BLOB,                                     -- the result object: for the day attempts run out, or an answer
  input_tokens   INTEGER,
  output_tokens  INTEGER,
  cache_read_tokens     INTEGER,
  cache_write_5m_tokens INTEGER,
  cache_write_1h_tokens INTEGER,
  price_id       INTEGER,
  cost_nanos     INTEGER DEFAULT 0,
  searches       INTEGER,
  extra          TEXT,
  PRIMARY KEY (batch_id, request_id)
) STRICT, WITHOUT ROWID;
INSERT INTO passage SELECT * FROM attempt;
DROP TABLE attempt;
ALTER TABLE passage RENAME TO attempt;
CREATE INDEX attempt_request ON attempt (request_id);
CREATE TRIGGER attempt_append_only_u
BEFORE UPDATE OF batch_id, request_id, kind, outcome, error_type, error_message, api_request_id, at ON attempt
BEGIN SELECT raise(ABORT, 'attempt: append-only'); END;
CREATE TRIGGER attempt_append_only_d BEFORE DELETE ON attempt BEGIN SELECT raise(ABORT, 'attempt: append-only'); END;
CREATE TRIGGER attempt_body_kept BEFORE UPDATE OF body ON attempt
WHEN NEW.body IS NOT NULL OR (SELECT purged_at FROM job WHERE id = OLD.request_id >> 32) IS NULL
BEGIN SELECT raise(ABORT, 'attempt: append-only'); END;
CREATE TRIGGER attempt_priced
BEFORE UPDATE OF input_tokens, output_tokens, cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens, price_id,
                 cost_nanos, searches, extra ON attempt WHEN OLD.cost_nanos IS NOT NULL
BEGIN SELECT raise(ABORT, 'attempt: append-only'); END;
