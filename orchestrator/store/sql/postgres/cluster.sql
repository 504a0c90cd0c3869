-- name: was
-- Where the store lay when it was opened last.
SELECT system_identifier, database, timeline FROM cluster

-- name: lies
SELECT system_identifier, database, timeline FROM cluster_now

-- name: lay
UPDATE cluster SET (system_identifier, database, timeline) = (SELECT system_identifier, database, timeline FROM cluster_now)

-- name: is_there
SELECT 1 FROM event WHERE id = ? AND at = ?

-- name: leftovers
-- Imports whose process is gone: none is known, or it was not seen for a while.
SELECT id FROM job
 WHERE state = 'importing' AND NOT EXISTS (SELECT 1 FROM daemon WHERE daemon.id = job.daemon AND seen_at > :since)

-- name: close
-- A process that was cut off, or stopped, finds this when it wakes: nothing moves without an event.
CREATE TRIGGER event_moved BEFORE INSERT ON event
FOR EACH STATEMENT EXECUTE FUNCTION refuse('event: the store was moved')

-- name: reopen
DROP TRIGGER IF EXISTS event_moved ON event

-- name: free
-- No time limit of the server counts while a COPY waits for its client. What that process sends when it wakes is refused.
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
 WHERE application_name = 'orchestrator free writer' AND datname = current_database() AND usename = current_user
   AND state = 'active' AND wait_event = 'ClientRead' AND query_start < clock_timestamp() - CAST(:still AS interval)
