"""The named queries: each fits the schema, each is used, and none walks a large table."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from store.store_world import NOW, raw

from orchestrator.store import sql_text
from orchestrator.store.migrate import prepare

pytestmark = pytest.mark.sqlite

PACKAGE = Path(sql_text.__file__).parent
FILES = sorted(path.stem for path in (PACKAGE / "sql").glob("*.sql"))
NAMED = [(name, query) for name in FILES for query in sql_text.load(name)]
#: Of some rows alone: batches whose answers are being stored.
SMALL_INDEXES = {"batch_unbooked"}
LARGE = {
    "request",
    "payload",
    "source_row",
    "result",
    "attempt",
    "event",
    "spare",
    "candidate",
    "refused_line",
    "batch",
}
LARGE |= {"known_id"}


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    """A store, empty."""
    path = tmp_path_factory.mktemp("store") / "store.db"
    prepare(path, now=NOW, sandbox=False)
    with closing(raw(path)) as connection:
        yield connection


def explained(db: sqlite3.Connection, sql: str, how: str) -> list[tuple[object, ...]]:
    """The statement, prepared with values for all its parameters, and explained."""
    marks = re.findall(r":(\w+)", sql)
    values: object = dict.fromkeys(marks, "1") if marks else ["1"] * sql.count("?")
    return db.execute(f"{how} {sql}", values).fetchall()  # type: ignore[arg-type]  # a mapping or a list, as the text asks


@pytest.mark.parametrize(("name", "query"), NAMED)
def test_every_query_fits_the_schema(db: sqlite3.Connection, name: str, query: str) -> None:
    """A column that was renamed is found here, not at night."""
    sql = sql_text.load(name)[query]
    if not sql.startswith("-- Before everything else"):  # EXPLAIN would refuse a table that is there
        assert explained(db, sql, "EXPLAIN") if "VACUUM" not in sql else sqlite3.complete_statement(sql + ";")


@pytest.mark.parametrize(("name", "query"), NAMED)
def test_no_query_walks_a_large_table(db: sqlite3.Connection, name: str, query: str) -> None:
    """Ten million requests: whatever runs per tick or per chunk finds its rows by a key or an index."""
    sql = sql_text.load(name)[query]
    if "CREATE TABLE" in sql or "VACUUM" in sql or name == "checks":  # (that one is meant to read everything)
        return
    for row in explained(db, sql, "EXPLAIN QUERY PLAN"):
        found = re.match(r"SCAN (\w+)(?: USING INDEX (\w+))?", str(row[3]))
        assert found is None or found[1] not in LARGE or found[2] in SMALL_INDEXES, f"{name}.{query}: {row[3]}"


@pytest.mark.parametrize(
    ("file", "name"), [("collect", "waiting"), ("settling", "undecided"), ("settling", "outcomes")]
)
def test_a_chunk_of_results_never_walks_its_batch(db: sqlite3.Connection, file: str, name: str) -> None:
    """Left alone, the planner takes the batch's index for the outer loop: 100,000 rows for a chunk of 2,000."""
    plan = [str(row[3]) for row in explained(db, sql_text.load(file)[name], "EXPLAIN QUERY PLAN")]
    assert any("SEARCH request USING INTEGER PRIMARY KEY" in line for line in plan), plan
    assert not any("request_batch" in line for line in plan), plan


@pytest.mark.parametrize("name", ["between", "last_between"])
def test_ids_that_begin_alike_are_a_stretch_of_the_key(db: sqlite3.Connection, name: str) -> None:
    """Both ends are bounds of it: a beginning that few have is found among a million without a walk to the end."""
    plan = [str(row[3]) for row in explained(db, sql_text.load("custom_ids")[name], "EXPLAIN QUERY PLAN")]
    wanted = "SEARCH known_id USING PRIMARY KEY (job_id=? AND run=? AND custom_id>? AND custom_id<?)"
    assert plan[0] == wanted, plan


def test_every_query_is_used_and_named_once_per_file() -> None:
    """Dead SQL is a trap for the next reader."""
    code = "\n".join(path.read_text("utf-8") for path in PACKAGE.glob("*.py"))
    used = set(re.findall(r'"(\w+)"', code))
    assert [pair for pair in NAMED if pair[1] not in used] == []
    for name in FILES:
        text = (PACKAGE / "sql" / f"{name}.sql").read_text("utf-8")
        assert len(re.findall(r"^-- name: |, and backwards: ", text, re.MULTILINE)) == len(sql_text.load(name)), name


def test_a_list_that_is_read_from_either_end_is_turned() -> None:
    """Each that says so: the same statement, with its order the other way round."""
    turned = 0
    for name in FILES:
        text = (PACKAGE / "sql" / f"{name}.sql").read_text("utf-8")
        for forwards, backwards in re.findall(r"^-- name: (\w+), and backwards: (\w+)$", text, re.MULTILINE):
            queries = sql_text.load(name)
            assert queries[backwards] != queries[forwards]
            assert queries[backwards].replace(" DESC LIMIT", " LIMIT") == queries[forwards]
            turned += 1
    assert turned


def test_no_statement_hides_in_the_code() -> None:
    """SQL lives in the .sql files; code has the words that open and end a transaction, and PRAGMAs."""
    for path in PACKAGE.glob("*.py"):
        text = path.read_text("utf-8")
        found = re.findall(r'execute(?:many)?\(\s*f?"(?!BEGIN|COMMIT|ROLLBACK|SAVEPOINT|PRAGMA)(\w+)', text)
        assert found == [], path.name


def test_a_request_is_born_in_one_place_and_queued() -> None:
    """The schema cannot say it without a trigger on every insert, so the text of the only insert is looked at."""
    births = [(name, query) for name, query in NAMED if "INSERT INTO request " in sql_text.load(name)[query]]
    assert births == [("ingestion", "add_request")]
    assert sql_text.load("ingestion")["add_request"].endswith("VALUES (?, ?, ?, ?, 'queued')")
