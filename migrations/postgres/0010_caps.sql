-- What may be spent: SQLite's file of this name says what everything means.

ALTER TABLE job ADD COLUMN cap_nanos bigint CHECK (cap_nanos >= 0);
ALTER TABLE job ADD COLUMN per_request_nanos bigint CHECK (per_request_nanos >= 0);
ALTER TABLE job ADD COLUMN reserved_nanos bigint NOT NULL DEFAULT 0 CHECK (reserved_nanos >= 0);
ALTER TABLE job ADD COLUMN warned_at utext;

ALTER TABLE batch ADD COLUMN worst_nanos bigint CHECK (worst_nanos >= 0);
ALTER TABLE batch ADD COLUMN reserved_nanos bigint NOT NULL DEFAULT 0 CHECK (reserved_nanos >= 0);

CREATE TABLE budget (
  scope     utext  PRIMARY KEY CHECK (scope IN ('day', 'month', 'total')),
  cap_nanos bigint NOT NULL CHECK (cap_nanos >= 0),
  set_by    utext  NOT NULL CHECK (set_by IN ('person', 'settings'))
);

CREATE TABLE spending (
  scope          utext  NOT NULL CHECK (scope IN ('day', 'month', 'total')),
  key            utext  NOT NULL,
  spent_nanos    bigint NOT NULL DEFAULT 0 CHECK (spent_nanos >= 0),
  reserved_nanos bigint NOT NULL DEFAULT 0 CHECK (reserved_nanos >= 0),
  warned_at      utext,
  PRIMARY KEY (scope, key)
);

INSERT INTO spending (scope, key, spent_nanos)
SELECT 'day', day, sum(cost_nanos) FROM ledger JOIN price ON price.id = price_id GROUP BY day;
INSERT INTO spending (scope, key, spent_nanos)
SELECT 'month', substr(key, 1, 7), sum(spent_nanos) FROM spending WHERE scope = 'day' GROUP BY substr(key, 1, 7);
INSERT INTO spending (scope, key, spent_nanos)
SELECT 'total', '', sum(spent_nanos) FROM spending WHERE scope = 'day' HAVING count(*) > 0;
