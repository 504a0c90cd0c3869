-- What is still reserved of a batch that is over: until it cannot turn up any more, or for good, since what some of its answers cost is
-- not known. Asked for at each cut of a job under a cap, so that it says what it waits for.
CREATE INDEX batch_held ON batch (job_id) WHERE reserved_nanos > 0 AND state IN ('void', 'abandoned', 'settled');
