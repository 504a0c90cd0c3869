"""A question before much is spent: once, on a terminal; elsewhere `--yes`, or exit code 5 with the number."""

from __future__ import annotations

import os
import pty
import re
from contextlib import suppress
from typing import Final

import pytest
from faces.cli_world import Program, request, sandbox_at, write_lines
from support.forked import PIPE, start

#: Less than any request costs.
LOW: Final = {"ORCHESTRATOR_BUDGET__CONFIRM_ABOVE": "$0.000000001"}


def on_a_terminal(program: Program, answer: bytes, *args: str, env: dict[str, str]) -> tuple[int, str]:
    """Run it on a terminal where *answer* is typed; its exit code, and what it said there."""
    ours, theirs = pty.openpty()
    with start(
        "orchestrator", *args, cwd=program.folder, env=program.env(env), stdin=theirs, stdout=PIPE, stderr=theirs
    ) as process:
        os.close(theirs)
        os.write(ours, answer)
        said = b""
        with suppress(OSError):  # the end of a terminal
            while some := os.read(ours, 65536):
                said += some
        process.communicate(timeout=60)
        os.close(ours)
        assert process.returncode is not None
        return process.returncode, said.decode()


def test_without_a_terminal_much_needs_a_yes(program: Program) -> None:
    """Exit code 5 with the number, and nothing is stored or sent; with --yes it is taken in."""
    source = write_lines(program.folder / "in.jsonl", [request(n) for n in range(3)])
    with sandbox_at(program) as api:
        for command in ("run", "submit"):
            refused = program(command, source, env={**LOW, **api})
            assert refused.code == 5
            assert "3 requests to claude-haiku-4-5 may cost up to $0.0" in refused.err
            assert "--yes" in refused.err
        refused = program("submit", source, "--pilot", "2", env={**LOW, **api})
        assert "the pilot, 2 of 3 requests, to claude-haiku-4-5 may cost up to $0.0" in refused.err
        assert program("ls", "--json", env=api).facts["jobs"] == []
        assert program("submit", source, "--yes", env={**LOW, **api}).code == 0
        assert program("run", source, "-o", "out.jsonl", env={**LOW, **api}).code == 0  # it is a job already


def test_tries_are_in_it_and_what_is_not_sent_is_not(program: Program) -> None:
    """Each answer that does not match its schema is paid for; of identical requests one is."""
    (program.folder / "in.csv").write_text("text\n" + "one\n" * 20, encoding="utf-8")
    long = ("--max-tokens", "64000")
    ask = ("submit", "in.csv", "-p", "{{ text }}", "-m", "claude-haiku-4-5", "--schema", "label", *long)

    def told(*more: str) -> tuple[float, str]:
        said = program(*ask, *more, env={**LOW, **api}).err
        found = re.search(r"may cost up to \$([\d.]+)", said)
        assert found is not None, said
        return float(found[1]), said

    with sandbox_at(program) as api:
        (once, words), (thrice, more) = told("--retry-invalid", "0"), told("--retry-invalid", "2")
        assert thrice == pytest.approx(3 * once, rel=0.05)
        assert "20 requests to" in words
        assert "schema" not in words.partition(";")[0]
        assert "if no answer matches the schema and each is asked for 3 times" in more
        alone, words = told("--retry-invalid", "0", "--dedupe")
        assert "1 different request to" in words
        assert alone == pytest.approx(once / 20, rel=0.05)
        checked = [program("check", *ask[1:], "--retry-invalid", n, "--json", env=api).facts for n in ("0", "2")]
        worst = [float(facts["estimate"]["cost"]["worst"]) for facts in checked]
        assert worst[1] == pytest.approx(3 * worst[0])


def test_a_cap_is_a_yes(program: Program) -> None:
    """More than it says is never spent, so that nothing is asked."""
    source = write_lines(program.folder / "in.jsonl", [request(n) for n in range(3)])
    with sandbox_at(program) as api:
        refused = program("submit", source, env={**LOW, **api})
        assert (refused.code, "--max-cost" in refused.err) == (5, True)
        assert program("submit", source, "--max-cost", "1", env={**LOW, **api}).code == 0


def test_what_nobody_can_bound_is_always_asked_about(program: Program) -> None:
    """However little the rest costs: web searches, and a model without a price. Under `none` and in a sandbox never."""
    tools: list[dict[str, object]] = [{"type": "web_search_20260209", "name": "web_search"}]
    source = write_lines(program.folder / "in.jsonl", [request(1), request(2, tools=tools)])
    with sandbox_at(program) as api:
        refused = program("submit", source, env=api)
        assert (refused.code, "1 request cannot be bounded: the API runs their tools" in refused.err) == (5, True)
        assert "--max-cost AMOUNT with --allow-per-request AMOUNT" in refused.err
        unknown = write_lines(program.folder / "unknown.jsonl", [request(1, model="claude-opus-4-10")])
        for command in ("run", "submit"):
            refused = program(command, unknown, env=api)
            assert refused.code == 5
            assert (
                "1 request to claude-opus-4-10; no price for claude-opus-4-10: what they cost is unknown" in refused.err
            )
            assert "`orchestrator prices claude-opus-4-10` says how" in refused.err
            assert "--max-cost" not in refused.err, "under a cap it would be refused"
        assert program("ls", "--json", env=api).facts["jobs"] == []
        never = {**api, "ORCHESTRATOR_BUDGET__CONFIRM_ABOVE": "none"}
        assert program("submit", source, env=never).code == 0
        assert program("submit", unknown, "--yes", env=api).code == 0
    assert program("submit", source, "--sandbox", "--db", "sandbox.db").code == 0


def test_on_a_terminal_it_is_asked_once(program: Program) -> None:
    """Nothing but a yes goes on."""
    source = write_lines(program.folder / "in.jsonl", [request(n) for n in range(3)])
    with sandbox_at(program) as api:
        code, said = on_a_terminal(program, b"\n", "submit", source, env={**LOW, **api})
        assert (code, "Go on? [y/N]" in said, "not confirmed" in said) == (5, True, True)
        assert program("ls", "--json", env=api).facts["jobs"] == []
        code, said = on_a_terminal(program, b"y\n", "submit", source, env={**LOW, **api})
        assert (code, said.count("Go on? [y/N]")) == (0, 1)
        code, said = on_a_terminal(program, b"", "submit", source, env={**LOW, **api})
        assert (code, "Go on?" in said) == (0, False)


def test_little_is_not_asked_about(program: Program) -> None:
    """The default is $5: a few requests pass, a thousand with long answers do not; in sandbox mode nothing is asked."""
    small = write_lines(program.folder / "small.jsonl", [request(n) for n in range(3)])
    large = write_lines(program.folder / "large.jsonl", [request(n, max_tokens=64_000) for n in range(1000)])
    with sandbox_at(program) as api:
        assert program("submit", small, env=api).code == 0
        refused = program("submit", large, env=api)
        assert (refused.code, "may cost up to $160." in refused.err) == (5, True)
        never = {**api, "ORCHESTRATOR_BUDGET__CONFIRM_ABOVE": "none"}
        assert program("submit", large, env=never).code == 0
    assert program("submit", large, "--sandbox", "--db", "sandbox.db", env=LOW).code == 0


def test_images_are_told_by_their_size(program: Program) -> None:
    """A megabyte of base64 is no quarter of a million tokens."""
    data = "A" * 1_000_000
    block = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}
    rows = [request(n, messages=[{"role": "user", "content": [block]}]) for n in range(20)]
    source = write_lines(program.folder / "in.jsonl", rows)
    with sandbox_at(program) as api:
        refused = program("submit", source, env={**api, "ORCHESTRATOR_BUDGET__CONFIRM_ABOVE": "$0.05"})
        assert (refused.code, program("submit", source, env=api).code) == (0, 0)


def test_an_amount_is_dollars_and_no_float(program: Program) -> None:
    """0.1 of TOML is not ten cents; a text is exact."""
    good, bad = ('"10.50usd"', '"$5"', "5", '""', '"none"'), ("0.1", '"a lot"', '"5,00"')
    for value, code in (*((each, 0) for each in good), *((each, 2) for each in bad)):
        file = program.folder / "settings.toml"
        file.write_text(f"[budget]\nconfirm_above = {value}\n")
        shown = program("config", "show", "--json", "--config", str(file))
        assert shown.code == code, value


def test_an_amount_that_a_shell_has_emptied_takes_no_question_away(program: Program) -> None:
    """`VARIABLE="$5"` is empty in a shell; the hint is quoted so that it can be copied."""
    refused = program("config", "show", env={"ORCHESTRATOR_BUDGET__CONFIRM_ABOVE": ""})
    assert refused.code == 2
    assert "write for instance: ORCHESTRATOR_BUDGET__CONFIRM_ABOVE='$5'" in refused.err


def test_a_pilot_of_no_request_at_all_is_an_empty_input(program: Program) -> None:
    """Exit code 2: every line of it is left out as it is bad."""
    (program.folder / "bad.jsonl").write_text('bad\n{"x":1}\n')
    with sandbox_at(program) as api:
        found = program(
            "run",
            "bad.jsonl",
            "--skip-bad",
            "--pilot",
            "10",
            env={**LOW, **api, "ORCHESTRATOR_PRICES__FACTOR": "2"},
        )
        assert (found.code, "Traceback" in found.err) == (2, False)
