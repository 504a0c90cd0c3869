"""Requests with a marked prefix, as a new user sends them: what the cache saves is the difference of the bills."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
from faces.cli_world import KEEPING, program_in, request, sandbox_at, write_lines
from support.length import IS_LONG

ROWS: Final = 2_000 if IS_LONG else 200
#: 5,000 tokens and more of the sandbox's.
LONG: Final = "word " * 4_400
MARK: Final = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}


def cost_of(folder: Path, *flags: str, marked: bool = True, env: Mapping[str, str] = {}) -> dict[str, Any]:
    """What a job of ROWS requests has cost in a sandbox of its own, which has seen none of them before."""
    folder.mkdir()
    system = [{"type": "text", "text": LONG, **(MARK if marked else {})}]
    with program_in(folder) as program, sandbox_at(program, *KEEPING) as api:
        source = write_lines(folder / "in.jsonl", [request(number, system=system) for number in range(ROWS)])
        assert program("run", source, "-o", "out.jsonl", "-q", "--yes", *flags, env={**api, **env}).code == 0
        cost: dict[str, Any] = program("status", "--json").facts["cost"]
    return cost


def test_a_marked_prefix_is_read_by_default_and_by_nobody_without_priming(tmp_path: Path) -> None:
    """95 % and 10 % of the tokens; both jobs saved what the same requests cost more, or less, without a marker."""
    primed, cold = cost_of(tmp_path / "primed"), cost_of(tmp_path / "cold", "--no-prime")
    plain = cost_of(tmp_path / "plain", marked=False)
    assert primed["cache"]["hit_rate"] >= 0.95
    assert cold["cache"]["hit_rate"] <= 0.10
    assert plain["cache"]["hit_rate"] is None
    for cost in (primed, cold):
        assert Decimal(cost["cache"]["saved"]) == Decimal(plain["spent"]) - Decimal(cost["spent"])
    assert Decimal(primed["cache"]["saved"]) > 0


@pytest.mark.long
def test_a_marker_that_is_added_saves_what_one_of_ones_own_saves(tmp_path: Path) -> None:
    """To the nano-dollar, by the flag and by the settings; the same file is the same job, whatever is done about it."""
    own = cost_of(tmp_path / "own")
    added = cost_of(tmp_path / "added", "--cache", "auto", marked=False)
    by_settings = cost_of(tmp_path / "settings", marked=False, env={"ORCHESTRATOR_CACHE__MODE": "auto"})
    assert added["spent"] == by_settings["spent"] == own["spent"]
    assert added["cache"] == by_settings["cache"] == own["cache"]


def test_an_option_that_a_job_has_otherwise_is_said_to_be_left(tmp_path: Path) -> None:
    """What was given and is not applied, in one line, with the way to have it; nothing for what the job has."""
    with program_in(tmp_path) as program:
        source = write_lines(tmp_path / "in.jsonl", [request(1)])
        first = ("submit", source, "--sandbox", "--cache", "auto", "--tag", "a", "--max-cost", "1")
        assert "not applied" not in program(*first).err + program(*first).err
        assert "not applied" not in program("submit", source, "--sandbox", "--max-cost", "2").err
        told = program("submit", source, "--sandbox", "--no-prime")
        assert "cache off was not applied: the job has auto; --new makes another job" in told.err
        more = ("--priority", "20", "--tag", "b", "--pilot", "50", "--allow-per-request", "0.1")
        assert program("submit", source, "--sandbox", *more, "--json").facts["not_applied"].split("; ") == [
            "priority 20 was not applied: the job has 10",
            "tag b was not applied: the job has a",
            "allow_per_request 0.1 was not applied: the job has none",
            "pilot 50 was not applied: the job has none",
        ]
        assert "not applied" not in program(*first[:3], "--no-prime", "--new", "--priority", "20").err
        assert "priority 10 was not applied: the job has 20" in program(*first[:3], "--priority", "10").err
        assert "not applied" not in program(*first[:3]).err


def test_check_says_what_auto_would_save_and_run_refuses_markers_beside_it(tmp_path: Path) -> None:
    """Before and after; a marker of one's own is named by line and field, and nothing is stored."""
    rows = [request(number, system=LONG) for number in range(20)]
    with program_in(tmp_path) as program:
        plain = write_lines(tmp_path / "plain.jsonl", rows)
        before = program("check", plain, "--offline").out
        after = program("check", plain, "--offline", "--cache", "auto").out
        assert "--cache auto would save about $" in before
        assert " less than without a cache, as a marker is added, and one goes ahead of the others" in after
        marked = write_lines(
            tmp_path / "marked.jsonl", [*rows, request(20, system=[{"type": "text", "text": LONG, **MARK}])]
        )
        for command in (("check", "--offline"), ("run", "--sandbox", "-o", "out.jsonl")):
            refused = program(command[0], marked, *command[1:], "--cache", "auto")
            assert refused.code == 2
            told = refused.out + refused.err
            assert "marked.jsonl:21: params.system.0.cache_control: is a marker of its own, and with cache auto" in told
        assert program("ls", "--sandbox").out.count("marked") == 0


def test_check_tells_which_batch_goes_ahead(tmp_path: Path) -> None:
    """In words, and as data; `tests/engine/test_prime_plan.py` holds it against the batches that are made."""
    system = [{"type": "text", "text": LONG, **MARK}]
    with program_in(tmp_path) as program:
        source = write_lines(tmp_path / "in.jsonl", [request(number, system=system) for number in range(90)])
        found = program("check", source, "--offline", "--json").facts
        assert [(batch["requests"], batch["turn"]) for batch in found["batches"]] == [(1, "ahead"), (89, "after")]
        assert found["ahead"] == ["r-0"]
        seen = program("check", source, "--offline").out
        assert "plan     2 batches" in seen
        assert " bytes, ahead of those with the same prefix (r-0)\n" in seen
        assert " bytes, once those ahead have ended\n" in seen
        assert program("check", source, "--offline", "--no-prime", "--json").facts["ahead"] == []


def test_a_file_full_of_markers_of_its_own_is_one_problem(tmp_path: Path) -> None:
    """With the count, the first lines and the remedy, beside what else is wrong; --skip-bad leaves each of them out."""
    rows = [request(number, system=[{"type": "text", "text": "Be kind.", **MARK}]) for number in range(60)]
    with program_in(tmp_path) as program:
        source = write_lines(tmp_path / "in.jsonl", [*rows, request(60, max_tokens=0), request(61)])
        for command in (("check", "--offline"), ("run", "--sandbox"), ("submit", "--sandbox")):
            refused = program(command[0], source, *command[1:], "--cache", "auto")
            assert refused.code == 2
            told = refused.out + refused.err
            assert re.findall(r"in\.jsonl:(\d+): params", told) == ["1", "61"]
            assert (
                "in.jsonl:1: params.system.0.cache_control: is a marker of its own, and with cache auto markers are "
                "added: 60 lines have it (1, 2, 3, 4, 5, …) (remove it, or use cache prime"
            ) in told
            assert "2 problems" in told
        rest = program("run", source, "--sandbox", "--cache", "auto", "--skip-bad", "-o", "out.jsonl", "--json")
        assert rest.facts["requests"]["total"] == 1
        refused_lines = [path for path in tmp_path.iterdir() if "refused" in path.name]
        assert sum(len(path.read_text().splitlines()) for path in refused_lines) == 61
