"""Requests that failed for several causes: found, written out, corrected, sent again and merged."""

from __future__ import annotations

import json
import shlex

from faces.cli_world import Program, ids_in, request, write_lines


def test_four_commands_mend_three_causes_and_leave_the_results_in_input_order(program: Program) -> None:
    """N (a) 4: 94 bad rows of 50,000 meant to write one's own join of input and results. Here nine of thirty."""
    rows = [request(n) for n in range(30)]
    rows[3:6] = [request(n, model="claude-haku-4-5") for n in range(3, 6)]
    rows[11:15] = [request(n, max_tokens=10_000_000) for n in range(11, 15)]
    rows[20:22] = [request(n, tools={}) for n in range(20, 22)]
    source = write_lines(program.folder / "in.jsonl", rows)
    assert program("run", "--sandbox", source, "-o", "out.jsonl").code == 1

    found = program("errors", "@last", "--sandbox", "--json").facts["groups"]
    assert sorted((group["type"], group["count"]) for group in found) == [
        ("invalid_request_error", 2),
        ("invalid_request_error", 4),
        ("not_found_error", 3),
    ]
    assert program("requests", "@last", "--sandbox", "--state", "failed", "-o", "failed.jsonl").code == 0
    assert ids_in(program.folder / "failed.jsonl") == [f"r-{n}" for n in (3, 4, 5, 11, 12, 13, 14, 20, 21)]
    change = ("--set", "model=claude-haiku-4-5", "--set", "max_tokens=16", "--drop", "tools")
    assert "9 requests queued again" in program("retry", "@last", "--sandbox", *change).out
    assert program("resume", "@last", "--sandbox", "-o", "out.jsonl").code == 0

    assert ids_in(program.folder / "out.jsonl") == [f"r-{n}" for n in range(30)]
    results = [json.loads(line)["result"]["type"] for line in (program.folder / "out.jsonl").read_text().splitlines()]
    assert results == ["succeeded"] * 30


def test_each_cause_of_a_type_is_advised_and_mended_by_itself(program: Program) -> None:
    """A member that is unknown to the API is dropped, another is set; the advised command works."""
    rows = [request(0), request(1, foo=1), request(2, max_tokens=10_000_000), request(3, tools={}), request(4, foo=2)]
    source = write_lines(program.folder / "in.jsonl", rows)
    assert program("run", "--sandbox", source, "-o", "out.jsonl").code == 1
    told = program("errors", "@last").err
    advised = "--cause 'foo: Extra inputs are not permitted' --drop foo"
    assert advised in told
    assert "--set max_tokens=VALUE" in told
    assert "--set KEY=VALUE" in told  # of `params: Expected …`: no member of that name is wrong
    unknown = program("retry", "@last", "--sandbox", "--cause", "foo: no")
    assert (unknown.code, "nothing was queued" in unknown.err, "lists the causes" in unknown.err) == (2, True, True)
    assert program("retry", "@last", "--sandbox", "--only", "invalid_request_error", "--grow").code == 2
    done = program("retry", "@last", "--sandbox", *shlex.split(advised))
    assert "2 requests queued again, without foo" in done.out
