-- Who did it: the name of the token that it was asked with. NULL: nobody showed one (a command on the daemon's own machine,
-- without a token), or the daemon did it by itself.

ALTER TABLE job ADD COLUMN submitted_by TEXT CHECK (submitted_by <> '');
CREATE TRIGGER job_submitter BEFORE UPDATE OF submitted_by ON job
BEGIN SELECT raise(ABORT, 'job: who submitted it never changes'); END;

ALTER TABLE event ADD COLUMN actor TEXT CHECK (actor <> '');
