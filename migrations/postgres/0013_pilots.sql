-- Some requests of a job go first: SQLite's file of this name says what everything means.

ALTER TABLE job ADD COLUMN pilot utext CHECK (pilot IN ('wait', 'go_on', 'over'));
CREATE INDEX job_pilot ON job (id) WHERE pilot IN ('wait', 'go_on');

CREATE TABLE piloted (
  request_id bigint PRIMARY KEY
);
