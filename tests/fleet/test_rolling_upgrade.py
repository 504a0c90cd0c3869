"""Acceptance check 17: a newer program migrates the schema while daemons of this one are at work."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

import pytest
from fleet.fleet_processes import cluster, until
from support.forked import ROOT
from support.processes import running_api

pytestmark = [pytest.mark.postgres, pytest.mark.process]

COUNT: Final = 400
STORED: Final = "SELECT count(*) FROM result"
DOUBTS: Final = "SELECT count(*) FROM event WHERE new = 'in_doubt'"
#: What a migration may do on a server: it only adds.
NEXT: Final = """
ALTER TABLE job ADD COLUMN tenant TEXT NOT NULL DEFAULT '';
ALTER TABLE batch ADD COLUMN hint TEXT;
CREATE TABLE tenant (id BIGINT PRIMARY KEY, name TEXT NOT NULL);
"""
VERSIONS: Final = (
    ("orchestrator/store/migrate.py", "\nSCHEMA_VERSION: Final = "),
    ("orchestrator/store/postgres/migrate_postgres.py", "\nSERVER_SCHEMA_VERSION: Final = "),
)


def newer_program(folder: Path) -> Path:
    """A copy of this one with one migration more: 9999, so that it is newer than any."""
    for name in ("orchestrator", "migrations"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for migrations in (folder / "migrations", folder / "migrations" / "postgres"):
        (migrations / "9999_tenants.sql").write_text(NEXT)
    for file, before in VERSIONS:
        text = (folder / file).read_text()
        head, found, tail = text.partition(before)
        assert found
        (folder / file).write_text(f"{head}{before}9999{tail[tail.index(chr(10)) :]}")
    return folder


@pytest.mark.long
def test_an_upgrade_under_load_costs_no_doubt_and_ends_the_older_daemons(url: str, tmp_path: Path) -> None:
    """Their statements work on the new schema until they have handed on; then they end with exit 8, and stay out."""
    newer = newer_program(tmp_path / "newer")
    with running_api() as api, cluster(url, api, tmp_path, "AB", LIMITS__MAX_IN_FLIGHT_BATCHES="6") as daemons:
        daemons.submit(COUNT)
        until(lambda: daemons.number(STORED) > 0, "the first results are there")
        daemons.own["C"] = {"PYTHONPATH": str(newer)}
        daemons.up("C")
        for name in "AB":
            assert daemons.hosts[name].alive.wait(120) == 8
        before = daemons.said("a newer version of this program has taken the database over")
        assert before == 2
        daemons.up("A")
        assert daemons.hosts["A"].alive.wait(60) == 8
        assert daemons.said("was written by a newer version of this program (schema 9999") == 1
        until(daemons.is_over, "the job is over")
        assert daemons.number(DOUBTS) == 0
        assert daemons.books().total() == len(daemons.books()) == daemons.number(STORED) == COUNT
        assert daemons.said("Traceback") + daemons.said("unit.failed") == 0
