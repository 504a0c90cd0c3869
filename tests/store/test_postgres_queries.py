"""The named queries on PostgreSQL: each fits the schema there, and none of them has to walk a large table."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import count
from typing import Any, Final

import psycopg
import pytest
from store.test_store_queries import LARGE, NAMED
from support.postgres import PostgresServer
from support.stores import make_schema

from orchestrator.store import sql_text
from orchestrator.store.postgres.link import PostgresAddress, Role

pytestmark = pytest.mark.postgres

#: About the file, or about SQLite's own tables.
OF_SQLITE: Final = {"maintenance", "migrate"}
OWN: Final = {("checks", "damage"), ("checks", "orphans")}
SHARED: Final = [pair for pair in NAMED if pair[0] not in OF_SQLITE and pair not in OWN]


@pytest.fixture(scope="module")
def connection(postgres_server: PostgresServer) -> Iterator[psycopg.Connection[Any]]:
    """An empty store's, told to look for another way than through a whole table."""
    url = postgres_server.new_database(postgres_server.template("store", make_schema))
    with PostgresAddress.of(url).connect(Role.READER) as raw:
        raw.prepare_threshold = None
        raw.execute("SET enable_seqscan = off")
        raw.execute("SET plan_cache_mode = force_generic_plan")
        yield raw
    postgres_server.drop(url)


def prepared(connection: psycopg.Connection[Any], text: str) -> int:
    """Prepare a statement as `q`, the only one; how many parameters it has."""
    names: dict[str, int] = {}
    number = count(1)

    def place(found: re.Match[str]) -> str:
        return f"${names.setdefault(found[1] or f'?{next(number)}', len(names) + 1)}"

    connection.execute("DEALLOCATE ALL")
    there = re.sub(r"%(?:\((\w+)\))?[sb]", place, text).replace("%%", "%")
    connection.execute(f"PREPARE q AS {there}".encode())
    return len(names)


@pytest.mark.parametrize(("name", "query"), SHARED)
def test_every_query_is_taken_and_finds_its_rows_by_an_index(
    connection: psycopg.Connection[Any], name: str, query: str
) -> None:
    """Types of parameters are found by the server alone, as it has to in the program."""
    parameters = prepared(connection, sql_text.load(name)[query].postgres.text.decode())
    if name == "checks" or query == "open_search":  # they are meant to read everything
        return
    given = f"({', '.join(['NULL'] * parameters)})" if parameters else ""
    (plan,) = connection.execute(f"EXPLAIN (FORMAT JSON) EXECUTE q{given}".encode()).fetchone() or ((),)
    walked = set(re.findall(r'"Node Type": "Seq Scan"[^{}]*?"Relation Name": "(\w+)"', json.dumps(plan)))
    assert not walked & LARGE


@pytest.mark.parametrize("query", ["between", "last_between"])
def test_ids_that_begin_alike_are_a_stretch_of_the_key(connection: psycopg.Connection[Any], query: str) -> None:
    """Both ends are bounds of the index."""
    parameters = prepared(connection, sql_text.load("custom_ids")[query].postgres.text.decode())
    explained = connection.execute(f"EXPLAIN EXECUTE q({', '.join(['NULL'] * parameters)})".encode()).fetchall()
    (bounds,) = [line for (line,) in explained if "Index Cond" in line]
    assert "custom_id" in bounds.partition(">=")[0], bounds
    assert bounds.count("custom_id") == 2, bounds
