-- name: vacuum
-- In place, in one transaction: the file stays the same file.
VACUUM
