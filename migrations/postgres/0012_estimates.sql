-- What a job was expected to cost, and by how much answers differ: SQLite's file of this name says what everything means.

CREATE TABLE estimate (
  job_id         bigint PRIMARY KEY REFERENCES job (id),
  kind           utext,
  input_tokens   bigint NOT NULL CHECK (input_tokens >= 0),
  low_nanos      bigint CHECK (low_nanos >= 0),
  expected_nanos bigint CHECK (expected_nanos >= 0),
  high_nanos     bigint CHECK (high_nanos >= 0),
  worst_nanos    bigint CHECK (worst_nanos >= 0),
  basis          utext  NOT NULL
);
CREATE INDEX estimate_kind ON estimate (kind) WHERE kind IS NOT NULL;
CREATE TRIGGER estimate_fixed BEFORE UPDATE ON estimate
FOR EACH ROW EXECUTE FUNCTION refuse('estimate: never changes');
CREATE TRIGGER estimate_kept BEFORE DELETE ON estimate
FOR EACH ROW EXECUTE FUNCTION refuse('estimate: never deleted');

ALTER TABLE ledger ADD COLUMN output_squares double precision;
ALTER TABLE ledger ADD COLUMN cost_squares double precision;
