"""Whoever asks who is in a fleet is told the same: `status` at the database or over a server, and the library."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from faces.cli_world import Program, Started, program_in, request, sandbox_at, select_a_moment, write_lines

from orchestrator import FleetAnswerView, Orchestrator, SyncOrchestrator

pytestmark = pytest.mark.postgres

STAGES = 10


@dataclass(frozen=True, slots=True)
class Serving:
    """A daemon *A* on a database, the environment of its commands, and what leads a command to it over HTTP."""

    program: Program
    env: dict[str, str]
    api: str
    flags: tuple[str, ...]
    process: Started

    @property
    def server(self) -> str:
        return self.flags[1]

    @property
    def token(self) -> str:
        return Path(self.flags[3]).read_text().strip()


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    with program_in(tmp_path) as found:
        write_lines(tmp_path / "in.jsonl", [request(1)])
        yield found


@contextmanager
def serving(program: Program, url: str) -> Iterator[Serving]:
    """The daemon, once it holds every stage."""
    token = program.folder / "token"
    assert program("service", "token", str(token)).code == 0
    with sandbox_at(program) as api:
        env = {**api, "ORCHESTRATOR_SANDBOX": "1", "ORCHESTRATOR_DATABASE__URL": url}
        own = {"ORCHESTRATOR_FLEET__NAME": "A", "ORCHESTRATOR_SERVER__LISTEN": "127.0.0.1:0"}
        with program.started("serve", "--token-file", str(token), env={**env, **own}) as process:
            process.says("dashboard and API: ")
            found = re.search(r"http://127\.0\.0\.1:\d+", process.err)
            assert found is not None
            flags = ("--server", found[0], "--token-file", str(token))
            while len(stages_by(program, env)) < STAGES:
                select_a_moment()
            yield Serving(program, env, api["ANTHROPIC_BASE_URL"], flags, process)


def stages_by(program: Program, env: dict[str, str]) -> list[str]:
    """What daemon A holds, as `status` without a job tells it."""
    daemons = program("status", "--json", env=env).facts["daemons"]
    return [stage for daemon in daemons for stage in daemon["stages"]]


def test_status_has_the_fleet_before_the_first_job_and_over_a_server(program: Program, url: str) -> None:
    """Exit code 4 says that there is no job, as on a file; the daemons are there all the same."""
    with serving(program, url) as fleet:
        env = fleet.env
        lines = ["fleet      1 daemon", "           A  version "]
        for flags in ((), fleet.flags):
            done = program("status", *flags, env=env)
            assert (done.code, "there is no job yet" in done.err) == (4, True)
            assert [sum(line.startswith(each) for line in done.out.splitlines()) for each in lines] == [1, 1]
            assert [each["name"] for each in program("status", "--json", *flags, env=env).facts["daemons"]] == ["A"]
            assert program("status", "nobody", *flags, env=env).out == ""
        assert program("submit", "in.jsonl", env=env).code == 0
        assert program("wait", "@last", env=env).code == 0
        here, there = (program("status", *flags, env=env).out for flags in ((), fleet.flags))
        assert here[here.index("fleet  ") :] == there[there.index("fleet  ") :]
        assert "fleet      1 daemon\n           A  version " in there
        facts = program("status", "--json", *fleet.flags, env=env).facts
        assert (facts["state"], [len(each["stages"]) for each in facts["daemons"]]) == ("finished", [STAGES])
        assert fleet.process.signal(signal.SIGTERM).code == 0
        assert "fleet      0 daemons" in program("status", env=env).out


def test_the_library_has_the_fleet_as_a_member_and_over_a_server(
    program: Program, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine in this process is one of the daemons; over a server none is added."""
    monkeypatch.setenv("HOME", str(program.folder / "home"))

    async def as_a_member(fleet: Serving) -> FleetAnswerView:
        own = partial(Orchestrator, url, sandbox=True, fleet__name="B", limits__max_uploads=3)
        async with own(api__base_url=fleet.api) as orc:
            while len((seen := await orc.fleet()).daemons) < 2:  # noqa: ASYNC110 - rows of a database set no Event
                await asyncio.sleep(0.05)
            return seen

    with serving(program, url) as fleet:
        seen = asyncio.run(as_a_member(fleet))
        assert [(each.name, each.works, each.silent) for each in seen.daemons] == [
            ("A", True, False),
            ("B", True, False),
        ]
        assert "limits.max_uploads (A 4; B 3)" in seen.attention[0]
        with SyncOrchestrator(server=fleet.server, token=fleet.token) as orc:
            found = orc.fleet()
        assert (found.fleet, found.daemons[0].name) == (True, "A")
        assert found.at is not None
