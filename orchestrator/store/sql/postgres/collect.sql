-- Joins whose order must not be the planner's. Without fresh statistics it takes a batch for one row, and goes through all
-- of it once for each result (measured: 65 s for 10,000 results, 0.3 s so). LATERAL … OFFSET 0 is looked up by its key, row by
-- row; `0 = (SELECT count(*) …)` is asked for each of these, where NOT EXISTS would be another join.

-- name: open_to_lines
-- Lines of one batch are stored one chunk at a time, and none once it is collected: who collects it waits for this lock.
SELECT 1 FROM batch WHERE id = :id AND state = 'ended' AND collected = 0 FOR NO KEY UPDATE

-- name: waiting
SELECT request.id FROM json_each(:keys) AS wanted
 CROSS JOIN LATERAL (SELECT id FROM request
                      WHERE id = wanted.value AND batch_id = :batch_id AND state = 'batched' OFFSET 0) AS request
 WHERE 0 = (SELECT count(*) FROM attempt WHERE attempt.batch_id = :batch_id AND attempt.request_id = request.id)

-- name: succeed
-- What a request must be is said of the found row, and compared with the row that is written, which may have moved
-- meanwhile. Said of the latter by itself it would make a batch look like one row again (measured: 30 s for 10,000).
UPDATE request SET state = 'succeeded', attempts = request.attempts + 1, error_type = NULL, error_message = NULL,
       api_request_id = NULL, result_id = won.result, stop = :stop
  FROM (SELECT result.id AS result, request.* FROM result
         CROSS JOIN LATERAL (SELECT id, batch_id, state FROM request
                              WHERE id = result.request_id AND batch_id = :batch_id AND state = 'batched' OFFSET 0) AS request
         WHERE result.id BETWEEN :first AND :last
           AND 0 = (SELECT count(*) FROM attempt
                     WHERE attempt.batch_id = :batch_id AND attempt.request_id = request.id) OFFSET 0) AS won
 WHERE request.id = won.id AND request.batch_id = won.batch_id AND request.state = won.state
