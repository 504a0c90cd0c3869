"""A name that several jobs have, and a store that is none: refused with words by every face that changes something."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from faces.cli_world import Program, program_in, request, write_lines
from faces.client_world import SLOW, requests, short_runtime_folder, talking_to

from orchestrator import GuardRefused, Job, Orchestrator


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    with program_in(tmp_path) as found:
        write_lines(tmp_path / "in.jsonl", [request(0)])
        yield found


def test_commands_that_change_something_refuse_a_name_of_several_jobs(program: Program) -> None:
    """F26: they are listed, and nothing is changed; what only looks takes the newest, and an id is always clear."""
    ids = [program("submit", "in.jsonl", "--sandbox", "--new", "--name", "nightly").out.strip() for _ in range(2)]
    for command in (("pause",), ("cancel",), ("retry",), ("resume", "--detach"), ("resume",)):
        done = program(command[0], "nightly", "--sandbox", *command[1:])
        assert done.code == 5
        assert "is the name of 2 jobs; nothing was changed" in done.err
        assert all(each in done.err for each in ids)
    assert {job["state"] for job in program("ls", "--json").facts["jobs"]} == {"running"}
    assert program("status", "nightly", "--json").facts["id"] == ids[1]
    assert program("pause", ids[0], "--sandbox").code == 0
    assert program("cancel", "@last", "--sandbox").code == 0


async def _refused(act: Callable[[], Awaitable[object]]) -> str:
    with pytest.raises(GuardRefused) as caught:
        await act()
    return str(caught.value)


def test_the_library_and_the_rest_api_refuse_it_as_well(tmp_path: Path) -> None:
    """F26: 409 and GuardRefused with the ids; a handle of a job that had the name alone stays good."""

    async def look() -> None:
        async with Orchestrator(tmp_path / "db", sandbox=True, **SLOW) as orc:
            first = await orc.submit(requests(1), name="nightly")
            alone = await orc.job("nightly")
            second = await orc.submit(requests(2), name="nightly")
            await alone.pause()
            several: Job = await orc.job("nightly")
            assert several.id == second.id
            for act in (several.pause, several.resume, several.cancel, several.retry):
                told = await _refused(act)
                assert first.id in told
                assert second.id in told
            async with talking_to(tmp_path / "db") as client:
                for verb in ("pause", "resume", "cancel", "retry", "close"):
                    answer = await client.post(f"jobs/nightly/{verb}")
                    assert answer.status_code == 409, answer.text
                    assert first.id in answer.text
                assert (await client.delete("jobs/nightly")).status_code == 409
                assert (await client.get("jobs/nightly")).json()["id"] == second.id
                assert (await client.post(f"jobs/{second.id}/pause")).status_code == 200

    with short_runtime_folder():
        asyncio.run(look())


def test_a_store_that_is_a_folder_or_another_file_is_called_that(program: Program) -> None:
    """F26: nobody is sent to a backup for a slip of the pen."""
    for command in (("ls",), ("run", "in.jsonl", "--sandbox")):
        done = program(*command, "--db", str(program.folder))
        assert (done.code, "is a folder" in done.err) == (2, True), done
    assert "is a folder" in program("doctor", "--sandbox", "--db", str(program.folder)).out
    assert not (program.folder.parent / f"{program.folder.name}.lock").exists()
    done = program("ls", "--db", "in.jsonl")
    assert done.code == 8
    assert "is not a store of this program" in done.err
    assert program("status", "--db", "/dev/null").code == 2


def test_a_unit_takes_no_store_from_the_command_line(program: Program) -> None:
    """F26: `--db` was dropped in silence; each kind of unit has a place of its own for its store."""
    for kind in ((), ("--user",), ("--container",)):
        done = program("service", "print", *kind, "--db", "my.db")
        assert (done.code, "--db" in done.err) == (2, True)
