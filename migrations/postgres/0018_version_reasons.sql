-- Why a job is not sent with the newest API version: SQLite's file of this name says what everything means.

ALTER TABLE job ADD COLUMN version_reason utext;
