-- Answers that do not match the schema of their job: SQLite's file of this name says what everything means.
--
-- While daemons of the version before are still at work, they settle every answer as a success.

ALTER TABLE request ADD COLUMN invalid_answers bigint;

ALTER TABLE attempt DROP CONSTRAINT attempt_outcome_check;
ALTER TABLE attempt ADD CONSTRAINT attempt_outcome_check
CHECK (outcome IN ('failed', 'again', 'credit', 'canceled', 'invalid', 'replaced'));
