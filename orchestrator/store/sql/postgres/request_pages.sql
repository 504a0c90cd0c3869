-- A batch that has half of all requests seems near from either end of the key, which is then walked for it through
-- all others. The bounds of a page are told by both columns, so that the key has none of them, and the batch's index all.

-- name: page_of_batch
SELECT id, custom_id, line, state, attempts, error_type, error_message,
       (SELECT name FROM stop_reason WHERE stop_reason.id = stop), batch_id, params_bytes FROM request
 WHERE batch_id = :batch_id AND (batch_id, id) > (:batch_id, :above) AND (batch_id, id) < (:batch_id, :below)
   AND (CAST(:state AS TEXT) IS NULL OR state = :state)
   AND (CAST(:error_type AS TEXT) IS NULL OR error_type = :error_type)
   AND (CAST(:error_message AS TEXT) IS NULL OR error_message = :error_message)
   AND (CAST(:cause AS TEXT) IS NULL OR cause = :cause) AND (CAST(:stop AS BIGINT) IS NULL OR stop = :stop)
   AND (CAST(:low AS TEXT) IS NULL OR custom_id >= :low AND custom_id < :high)
 ORDER BY id LIMIT :limit

-- name: last_of_batch
SELECT id, custom_id, line, state, attempts, error_type, error_message,
       (SELECT name FROM stop_reason WHERE stop_reason.id = stop), batch_id, params_bytes FROM request
 WHERE batch_id = :batch_id AND (batch_id, id) > (:batch_id, :above) AND (batch_id, id) < (:batch_id, :below)
   AND (CAST(:state AS TEXT) IS NULL OR state = :state)
   AND (CAST(:error_type AS TEXT) IS NULL OR error_type = :error_type)
   AND (CAST(:error_message AS TEXT) IS NULL OR error_message = :error_message)
   AND (CAST(:cause AS TEXT) IS NULL OR cause = :cause) AND (CAST(:stop AS BIGINT) IS NULL OR stop = :stop)
   AND (CAST(:low AS TEXT) IS NULL OR custom_id >= :low AND custom_id < :high)
 ORDER BY id DESC LIMIT :limit
