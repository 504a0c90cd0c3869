-- name: price
SELECT id FROM price
 WHERE day = :day AND model = :model AND geo = :geo AND source = :source AND coalesce(rates, '') = CAST(:rates AS TEXT)

-- name: add_price
-- Another daemon may be adding it.
INSERT INTO price (model, geo, day, rates, source)
VALUES (:model, :geo, :day, nullif(CAST(:rates AS TEXT), ''), :source) ON CONFLICT DO NOTHING

-- name: enter
INSERT INTO ledger (batch_id, price_id, kind, requests, input, output, write_5m, write_1h, read, searches, cost_nanos, unpriced,
                    output_squares, cost_squares)
VALUES (:batch_id, :price_id, :kind, :requests, :input, :output, :write_5m, :write_1h, :read, :searches, :nanos, :unpriced,
        :output_squares, :cost_squares)
ON CONFLICT (batch_id, price_id, kind) DO UPDATE SET
       requests = ledger.requests + excluded.requests, input = ledger.input + excluded.input,
       output = ledger.output + excluded.output, write_5m = ledger.write_5m + excluded.write_5m,
       write_1h = ledger.write_1h + excluded.write_1h, read = ledger.read + excluded.read,
       searches = ledger.searches + excluded.searches, cost_nanos = ledger.cost_nanos + excluded.cost_nanos,
       unpriced = ledger.unpriced + excluded.unpriced,
       output_squares = ledger.output_squares + excluded.output_squares,
       cost_squares = ledger.cost_squares + excluded.cost_squares

-- name: take_back
-- Only if all of it is in the line: what older versions noted nowhere is not. Tokens may have been read otherwise then.
UPDATE ledger SET
       requests = requests - :requests, cost_nanos = cost_nanos - :nanos, unpriced = unpriced - :unpriced,
       input = CASE WHEN input > :input THEN input - :input ELSE 0 END,
       output = CASE WHEN output > :output THEN output - :output ELSE 0 END,
       write_5m = CASE WHEN write_5m > :write_5m THEN write_5m - :write_5m ELSE 0 END,
       write_1h = CASE WHEN write_1h > :write_1h THEN write_1h - :write_1h ELSE 0 END,
       read = CASE WHEN read > :read THEN read - :read ELSE 0 END,
       searches = CASE WHEN searches > :searches THEN searches - :searches ELSE 0 END,
       output_squares = CASE WHEN output_squares < :output_squares THEN 0 ELSE output_squares - :output_squares END,
       cost_squares = CASE WHEN cost_squares < :cost_squares THEN 0 ELSE cost_squares - :cost_squares END
 WHERE batch_id = :batch_id AND price_id = :price_id AND kind = :kind AND requests >= :requests AND unpriced >= :unpriced

-- name: spend
UPDATE job SET spent_nanos = spent_nanos + :nanos, unpriced = unpriced + :unpriced WHERE id = :id

-- name: day
SELECT day FROM price WHERE id = :id

-- name: unpriced
-- Successes of a job whose cost is not known.
SELECT request.id AS request_id, result.id AS result_id, request.batch_id, batch.created_at, result.price_id, result.extra,
       result.body
  FROM request JOIN result ON result.id = request.result_id AND result.request_id = request.id
  JOIN batch ON batch.id = request.batch_id
 WHERE request.id > :above AND request.id <= :high AND request.state = 'succeeded' AND result.cost_nanos IS NULL
 ORDER BY request.id LIMIT :limit

-- name: still_unpriced
SELECT id FROM result WHERE id IN (SELECT value FROM json_each(:ids)) AND cost_nanos IS NULL

-- name: price_results
UPDATE result SET price_id = CAST(told.price_id AS BIGINT), cost_nanos = CAST(told.nanos AS BIGINT),
       searches = CAST(told.searches AS BIGINT), extra = told.extra
  FROM (SELECT column1 AS id, column2 AS price_id, column3 AS nanos, column4 AS searches, column5 AS extra
          FROM (VALUES (?, ?, ?, ?, ?)) AS given) AS told
 WHERE result.id = CAST(told.id AS BIGINT)

-- name: listed_unknown
SELECT ledger.unpriced FROM ledger JOIN price ON price.id = ledger.price_id
 WHERE ledger.batch_id = :batch_id AND ledger.kind = 'kept' AND price.day = :day AND price.model = '' AND price.rates IS NULL
