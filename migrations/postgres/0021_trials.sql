-- Some requests of a job are sent, and no others until all of it is asked for: SQLite's file of this name says what it means.

ALTER TABLE job ADD COLUMN trial bigint CHECK (trial > 0);
