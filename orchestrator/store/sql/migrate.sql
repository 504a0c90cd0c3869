-- name: tables
SELECT count(*) FROM sqlite_schema

-- name: make_history
-- Before everything else, in the transaction of the first migration.
CREATE TABLE schema_migration (
  version    INTEGER PRIMARY KEY,
  name       TEXT NOT NULL,
  checksum   TEXT NOT NULL,
  applied_at TEXT NOT NULL
) STRICT

-- name: history
SELECT version, checksum FROM schema_migration ORDER BY version

-- name: applied
INSERT INTO schema_migration VALUES (?, ?, ?, ?)

-- name: who
SELECT lineage, sandbox FROM meta

-- name: sandbox
SELECT sandbox FROM meta

-- name: introduce
-- Who the store is: random, written once.
INSERT INTO meta (id, lineage, created_at, sandbox, spread) VALUES (1, ?, ?, ?, ?)

-- name: copy
VACUUM INTO ?
