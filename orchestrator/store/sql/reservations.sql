-- name: lock
SELECT 1 FROM batch WHERE id = :id

-- name: reservation
-- What of a batch is reserved, for which days, whether its answers are being taken in, and whether nothing of it can be billed any
-- more but what is not known.
SELECT reserved_nanos, created_at, coalesce(cursor_date, sent_at), worst_nanos, state = 'ended',
       state = 'settled' OR (state IN ('void', 'abandoned') AND swept = 1)
  FROM batch WHERE id = :id

-- name: unpriced
SELECT coalesce(sum(unpriced), 0) FROM ledger WHERE batch_id = :id

-- name: hold
UPDATE batch SET reserved_nanos = reserved_nanos + :nanos WHERE id = :id

-- name: spend_of_batch
-- What of it goes into the books when the batch is settled, is kept with it.
UPDATE batch SET reserved_nanos = reserved_nanos - :taken, unbooked_spent = unbooked_spent + :unbooked_spent,
       unbooked_taken = unbooked_taken + :unbooked_taken
 WHERE id = :id

-- name: unbooked
SELECT unbooked_spent, unbooked_taken FROM batch WHERE id = :id

-- name: booked_all
UPDATE batch SET unbooked_spent = 0, unbooked_taken = 0 WHERE id = :id

-- name: hold_in_job
UPDATE job SET reserved_nanos = reserved_nanos + :nanos WHERE id = :id

-- name: reserve_in_job
-- Only what is within the cap: asked of the row that is written.
UPDATE job SET reserved_nanos = reserved_nanos + :nanos
 WHERE id = :id AND (cap_nanos IS NULL OR spent_nanos + reserved_nanos + :nanos <= cap_nanos)

-- name: reserve_in_book
-- Together with what batches have not booked yet: in one statement, since what they reserve becomes spent meanwhile.
UPDATE spending SET reserved_nanos = reserved_nanos + :nanos
 WHERE scope = :scope AND key = :key
   AND NOT EXISTS (SELECT 1 FROM budget
                    WHERE budget.scope = spending.scope
                      AND spending.spent_nanos + spending.reserved_nanos + :nanos
                          + (SELECT coalesce(sum(unbooked_spent - unbooked_taken), 0) FROM batch
                              WHERE (unbooked_spent <> 0 OR unbooked_taken <> 0)
                                AND substr(created_at, 1, length(spending.key)) = spending.key) > budget.cap_nanos)

-- name: change_book
UPDATE spending SET spent_nanos = spent_nanos + :spent, reserved_nanos = reserved_nanos + :reserved
 WHERE scope = :scope AND key = :key

-- name: open_book
-- Another daemon may be opening it.
INSERT INTO spending (scope, key) VALUES (:scope, :key) ON CONFLICT DO NOTHING
