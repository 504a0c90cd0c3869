"""Tables for people: whatever somebody called a thing, the columns stay where they are."""

from __future__ import annotations

from orchestrator.cli.console import as_table


def test_a_name_pushes_no_table_apart_and_steers_no_terminal() -> None:
    """Ten thousand characters are cut; what would clear the screen is spelled out."""
    rows = [("MODEL", "SPENT"), ("m" * 10_000, "1"), ("a\x1b[2Jb", "2")]
    head, long, steering = as_table(rows, right=[1]).splitlines()
    assert (len(head), len(long), len(steering)) == (127, 127, 127)
    assert long.startswith("m" * 119 + "…  ")
    assert steering.startswith(r"a\x1b[2Jb ")
