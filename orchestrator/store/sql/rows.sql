-- name: record
-- The event log; always in the transaction that makes it true.
INSERT INTO event (at, job_id, batch_id, kind, old, new, why) VALUES (?, ?, ?, ?, ?, ?, ?)
