-- What a job was expected to cost when it was made, to be held against what it did cost; and by how much answers differ, which
-- the next estimate rests on.

-- One for each job whose input was complete when it was made; none of an earlier version's. Nano-dollars, NULL: not known.
-- low, high: in 95 of 100 cases between them; worst: it cannot be more. input_tokens: of all prompts, by their bytes.
-- kind: a digest of what all its requests have in common (domain/request_kind.py), NULL: they are of several kinds.
CREATE TABLE estimate (
  job_id         INTEGER PRIMARY KEY REFERENCES job (id),
  kind           TEXT,
  input_tokens   INTEGER NOT NULL CHECK (input_tokens >= 0),
  low_nanos      INTEGER CHECK (low_nanos >= 0),
  expected_nanos INTEGER CHECK (expected_nanos >= 0),
  high_nanos     INTEGER CHECK (high_nanos >= 0),
  worst_nanos    INTEGER CHECK (worst_nanos >= 0),
  basis          TEXT    NOT NULL
) STRICT;
CREATE INDEX estimate_kind ON estimate (kind) WHERE kind IS NOT NULL;
CREATE TRIGGER estimate_fixed BEFORE UPDATE ON estimate BEGIN SELECT raise(ABORT, 'estimate: never changes'); END;
CREATE TRIGGER estimate_kept BEFORE DELETE ON estimate BEGIN SELECT raise(ABORT, 'estimate: never deleted'); END;

-- Sums over the requests of a line of their output tokens, and of their cost in nano-dollars, squared. NULL: not known, of
-- lines of an earlier version, whatever is added to them.
ALTER TABLE ledger ADD COLUMN output_squares REAL;
ALTER TABLE ledger ADD COLUMN cost_squares REAL;
