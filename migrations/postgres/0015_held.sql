-- What is still reserved of batches that are over: SQLite's file of this name says what everything means.

CREATE INDEX batch_held ON batch (job_id) WHERE reserved_nanos > 0 AND state IN ('void', 'abandoned', 'settled');
