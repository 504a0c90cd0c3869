-- name: add_rows
INSERT INTO source_row (first_id, count, data) VALUES (:first_id, :count, :data)

-- name: count_rows
UPDATE job SET row_count = row_count + :count WHERE id = :id

-- name: spans
-- The blocks of a job that may hold a row of the requests from :low to :high; what they hold is not read.
SELECT first_id, count FROM source_row
 WHERE first_id >= coalesce((SELECT max(first_id) FROM source_row WHERE first_id BETWEEN :start AND :low), :low)
   AND first_id <= :high
 ORDER BY first_id

-- name: block
SELECT first_id, count, data FROM source_row WHERE first_id = :first_id

-- name: discard_rows
DELETE FROM source_row WHERE first_id BETWEEN :low AND :high
