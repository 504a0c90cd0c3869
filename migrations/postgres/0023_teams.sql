-- Who did it: SQLite's file of this name says what it means. What a daemon of the version before does has no name.

ALTER TABLE job ADD COLUMN submitted_by utext CHECK (submitted_by <> '');
CREATE TRIGGER job_submitter BEFORE UPDATE OF submitted_by ON job
FOR EACH ROW EXECUTE FUNCTION refuse('job: who submitted it never changes');

ALTER TABLE event ADD COLUMN actor utext CHECK (actor <> '');
