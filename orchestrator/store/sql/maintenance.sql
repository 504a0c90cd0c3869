-- name: vacuum
-- In place, in one transaction: the file stays the same file.
VACUUM

-- name: counters
-- The last number that was given away, of each table with AUTOINCREMENT.
SELECT name, seq FROM sqlite_sequence

-- name: count_from
UPDATE sqlite_sequence SET seq = max(seq, :last) WHERE name = :name

-- name: begin_count
INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :last)
