-- What is billed while a batch is downloaded: SQLite's file of this name says what everything means.

ALTER TABLE batch ADD COLUMN unbooked_spent bigint NOT NULL DEFAULT 0;
ALTER TABLE batch ADD COLUMN unbooked_taken bigint NOT NULL DEFAULT 0;
CREATE INDEX batch_unbooked ON batch (id) WHERE unbooked_spent <> 0 OR unbooked_taken <> 0;
