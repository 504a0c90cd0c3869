-- What may be spent: caps of jobs, budgets of all jobs together, and what is reserved of both. A batch reserves what it can
-- cost at most in the transaction of its intent to POST; what its answers cost is taken out of that, and the rest is freed
-- when nothing of it can be billed any more. So, in every scope, billed <= spent + reserved <= cap. Money is whole nano-dollars.

-- cap_nanos: NULL: the job has none of its own. per_request_nanos: what is reserved for a request whose cost has no bound;
-- NULL: such a request is not sent under a cap. warned_at: since when four fifths of the cap are known to be spent.
ALTER TABLE job ADD COLUMN cap_nanos INTEGER CHECK (cap_nanos >= 0);
ALTER TABLE job ADD COLUMN per_request_nanos INTEGER CHECK (per_request_nanos >= 0);
ALTER TABLE job ADD COLUMN reserved_nanos INTEGER NOT NULL DEFAULT 0 CHECK (reserved_nanos >= 0);
ALTER TABLE job ADD COLUMN warned_at TEXT;

-- worst_nanos: what the batch can cost at most; NULL: nobody has asked, as no cap was in force. reserved_nanos: what of it may
-- still be billed.
ALTER TABLE batch ADD COLUMN worst_nanos INTEGER CHECK (worst_nanos >= 0);
ALTER TABLE batch ADD COLUMN reserved_nanos INTEGER NOT NULL DEFAULT 0 CHECK (reserved_nanos >= 0);

-- The caps of all jobs together: a day and a month are UTC's, by the batch's creation. set_by: 'person' or 'settings'.
CREATE TABLE budget (
  scope     TEXT    PRIMARY KEY CHECK (scope IN ('day', 'month', 'total')),
  cap_nanos INTEGER NOT NULL CHECK (cap_nanos >= 0),
  set_by    TEXT    NOT NULL CHECK (set_by IN ('person', 'settings'))
) STRICT;

-- key: '2026-11-28', '2026-11', or '' of the total. Kept whether there is a budget or not: one may be set later.
CREATE TABLE spending (
  scope          TEXT    NOT NULL CHECK (scope IN ('day', 'month', 'total')),
  key            TEXT    NOT NULL,
  spent_nanos    INTEGER NOT NULL DEFAULT 0 CHECK (spent_nanos >= 0),
  reserved_nanos INTEGER NOT NULL DEFAULT 0 CHECK (reserved_nanos >= 0),
  warned_at      TEXT,
  PRIMARY KEY (scope, key)
) STRICT, WITHOUT ROWID;

INSERT INTO spending (scope, key, spent_nanos)
SELECT 'day', day, sum(cost_nanos) FROM ledger JOIN price ON price.id = price_id GROUP BY day;
INSERT INTO spending (scope, key, spent_nanos)
SELECT 'month', substr(key, 1, 7), sum(spent_nanos) FROM spending WHERE scope = 'day' GROUP BY substr(key, 1, 7);
INSERT INTO spending (scope, key, spent_nanos)
SELECT 'total', '', sum(spent_nanos) FROM spending WHERE scope = 'day' HAVING count(*) > 0;
