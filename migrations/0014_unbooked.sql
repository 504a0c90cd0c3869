-- What is billed while a batch is downloaded is kept with the batch until it is settled: in the books of all jobs together, those who
-- store the answers of other batches would have to wait for each other.

-- Of a batch: nano-dollars that were billed, and that came out of its reservation, and are not in the books of its day yet.
ALTER TABLE batch ADD COLUMN unbooked_spent INTEGER NOT NULL DEFAULT 0;
ALTER TABLE batch ADD COLUMN unbooked_taken INTEGER NOT NULL DEFAULT 0;
CREATE INDEX batch_unbooked ON batch (id) WHERE unbooked_spent <> 0 OR unbooked_taken <> 0;
