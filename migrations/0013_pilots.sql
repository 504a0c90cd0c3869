-- Some requests of a job go first, drawn by lot, and tell what the others will cost.

-- pilot: NULL: the job has none; wait, go_on: only its pilot is sent, and then the job is paused, or goes on; over: every
-- request of it has ended.
ALTER TABLE job ADD COLUMN pilot TEXT CHECK (pilot IN ('wait', 'go_on', 'over'));
CREATE INDEX job_pilot ON job (id) WHERE pilot IN ('wait', 'go_on');

-- The requests of pilots, drawn when their job was made.
CREATE TABLE piloted (
  request_id INTEGER PRIMARY KEY
) STRICT;
