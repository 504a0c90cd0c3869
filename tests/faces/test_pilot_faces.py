"""A pilot at every face: it goes first, the job says what the others will cost, and a person lets it go on."""

from __future__ import annotations

import os
import pty
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from subprocess import DEVNULL, Popen

import pytest
from faces.api_world import NDJSON, api, lines
from faces.cli_world import Program, request, write_lines
from faces.client_world import requests, short_runtime_folder
from faces.test_cli_confirm import LOW
from support.world import in_a_loop

from orchestrator import NeedsPerson, Orchestrator, UsageError


@pytest.fixture(autouse=True)
def _runtime() -> Iterator[None]:
    with short_runtime_folder():
        yield


def on_a_terminal(program: Program, answer: bytes, *args: str) -> tuple[int, str]:
    """Run it on a terminal where *answer* is typed when it is asked for; its exit code, and what it said there."""
    ours, theirs = pty.openpty()
    line, said = [sys.executable, "-m", "orchestrator", *args], b""
    env = program.env({"TERM": "dumb"})
    with Popen(line, cwd=program.folder, env=env, stdin=theirs, stdout=DEVNULL, stderr=theirs) as process:
        os.close(theirs)
        with suppress(OSError):  # the end of a terminal
            while some := os.read(ours, 4096):
                is_asked = b"Go on?" not in said and b"Go on?" in said + some
                said += some
                if is_asked:
                    os.write(ours, answer)
        os.close(ours)
    return process.returncode, said.decode()


def answered(program: Program, name: str = "out.jsonl") -> int:
    """How many results are in the file."""
    return len((program.folder / name).read_text().splitlines())


def test_a_run_with_a_pilot_waits_for_a_resume(program: Program) -> None:
    """Exit code 3 with the expected cost, and what was answered is written; the same command spends nothing more."""
    source = write_lines(program.folder / "in.jsonl", [request(n) for n in range(80)])
    line = ("run", source, "--sandbox", "--pilot", "10", "-o", "out.jsonl")
    for _ in range(2):
        stopped = program(*line)
        assert stopped.code == 3
        assert "the pilot of 10 requests has ended; the other 70 are expected to cost $0.00" in stopped.err
        assert "resume in-" in stopped.err
        assert answered(program) == 10
    told = program("status", "@last", "--sandbox", "--json").facts
    assert (told["state"], told["reason_code"], told["requests"]["queued"]) == ("paused", "pilot", 70)
    assert float(told["cost"]["spent"]) < float(told["cost"]["expected"])
    assert program("resume", "@last", "--sandbox", "-o", "out.jsonl").code == 0
    assert answered(program) == 80


def test_with_a_yes_a_pilot_goes_on_by_itself(program: Program) -> None:
    """The lines of the output are in the order of the input."""
    source = write_lines(program.folder / "in.jsonl", [request(n) for n in range(40)])
    done = program("run", source, "--sandbox", "--pilot", "5", "--yes", "-o", "out.jsonl")
    assert done.code == 0
    written = (program.folder / "out.jsonl").read_text().splitlines()
    assert [line.split('"')[3] for line in written] == [str(request(n)["custom_id"]) for n in range(40)]
    assert "paused" not in done.err


@pytest.mark.long
def test_on_a_terminal_a_person_is_asked_when_the_pilot_has_ended(program: Program) -> None:
    """A yes goes on in the same command, anything else leaves the job as it is."""
    source = write_lines(program.folder / "in.jsonl", [request(n) for n in range(30)])
    line = ("run", source, "--sandbox", "--pilot", "5", "-o", "out.jsonl")
    code, said = on_a_terminal(program, b"n\n", *line)
    assert (code, said.count("Go on? [y/N]"), answered(program)) == (3, 1, 5)
    code, said = on_a_terminal(program, b"y\n", *line)
    assert (code, said.count("Go on? [y/N]"), answered(program)) == (0, 1, 30)


def test_only_the_pilot_is_confirmed_before_it_is_sent(program: Program) -> None:
    """What comes after it is decided when it is known."""
    source = write_lines(program.folder / "in.jsonl", [request(n) for n in range(1_000)])
    assert program("submit", source, env={"ORCHESTRATOR_BUDGET__CONFIRM_ABOVE": "$0.01"}).code == 5
    assert program("submit", source, "--pilot", "10", env={"ORCHESTRATOR_BUDGET__CONFIRM_ABOVE": "$0.01"}).code == 0
    assert program("submit", source, "--new", "--pilot", "10", env=LOW).code == 5


@pytest.mark.parametrize("size", ["1", "10001", "many"])
def test_a_pilot_of_one_tells_nothing(program: Program, size: str) -> None:
    """Of one answer nobody knows how far others are from it."""
    source = write_lines(program.folder / "in.jsonl", [request(1)])
    refused = program("run", source, "--sandbox", "--pilot", size)
    assert refused.code == 2
    assert "--pilot" in refused.err


@in_a_loop
async def test_a_pilot_by_the_library(tmp_path: Path) -> None:
    """`wait` raises with what the others will cost; after `resume` it waits for the end. An open job has none."""
    async with Orchestrator(tmp_path / "store.db", sandbox=True, sandbox__speed=100_000) as orc:
        job = await orc.submit(requests(50), pilot=5)
        with pytest.raises(NeedsPerson) as stopped:
            await job.wait(60)
        assert "the other 45 are expected to cost $" in str(stopped.value.cause)
        await job.resume()
        assert (await job.wait(60)).job.requests.succeeded == 50
        on = await orc.submit(requests(50), new=True, pilot=5, after_pilot="go_on")
        assert (await on.wait(60)).job.requests.succeeded == 50
        with pytest.raises(UsageError, match="an open job has no pilot"):
            await (await orc.open_job("open", pilot=5)).add(requests(3))


@in_a_loop
async def test_a_pilot_over_http(tmp_path: Path) -> None:
    """In the query or beside the requests; a number that is none is refused with the rule."""
    async with api(tmp_path / "store.db") as (_, client):
        made = await client.post("jobs?pilot=2&after_pilot=wait", content=lines(9), headers=NDJSON)
        assert made.status_code == 201, made.text
        refused = await client.post("jobs?pilot=1", content=lines(9), headers=NDJSON)
        assert (refused.status_code, "a pilot has 2 to 10,000 requests" in refused.text) == (400, True)
