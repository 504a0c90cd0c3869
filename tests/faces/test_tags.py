"""Tags: what a job is filed under, given and asked for on every face."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from faces.api_world import LINES, NDJSON, api, lines
from faces.cli_world import Program, program_in, request, write_lines
from faces.client_world import requests
from faces.test_api_jobs import form
from faces.test_dashboard_pages import HERE, dashboard

from orchestrator import Orchestrator, SyncOrchestrator, UsageError


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    with program_in(tmp_path) as found:
        write_lines(tmp_path / "one.jsonl", [request(1)])
        write_lines(tmp_path / "two.jsonl", [request(2)])
        yield found


def test_the_command_line_files_jobs_under_tags_and_finds_them(program: Program) -> None:
    """`--tag` at a hand-over, in `status`, `ls` and `--json`; `ls --tag` twice asks for both."""
    program("submit", "one.jsonl", "--tag", "nightly", "--tag", "fr", "--tag", "fr")
    program("submit", "two.jsonl", "--tag", "nightly")
    told = program("status", "one", "--json").facts
    assert told["tags"] == ["fr", "nightly"]
    assert "tags       fr, nightly" in program("status", "one").out
    both = program("ls").out
    assert "TAGS" in both
    assert "fr, nightly" in both
    found = {
        tags: [job["name"] for job in program("ls", "--json", *tags).facts["jobs"]]
        for tags in [("--tag", "nightly"), ("--tag", "fr"), ("--tag", "nightly", "--tag", "fr"), ("--tag", "night")]
    }
    assert list(found.values()) == [["two", "one"], ["one"], ["one"], []]
    assert [job["name"] for job in program("ls", "--json", "--since", "2020-01-01").facts["jobs"]] == ["two", "one"]
    assert program("ls", "--json", "--until", "2020-01-01").facts["jobs"] == []
    assert "--until is 'soon'" in program("ls", "--until", "soon").err


def test_a_tag_that_cannot_be_one_is_refused(program: Program) -> None:
    """A comma would be two tags in a list, and a line break would forge lines of a table."""
    for tag in ("", "a,b", "a\nb", " a", "a ", "x" * 65):
        done = program("submit", "one.jsonl", "--tag", tag)
        assert done.code == 2
        assert "--tag" in done.err
        assert "a tag has 1 to 64 characters" in done.err


def test_the_rest_api_files_jobs_under_tags_and_finds_them(tmp_path: Path) -> None:
    """As parameters, as a field of a form, in one JSON object; `tag` of the list, given twice, asks for both."""

    async def check() -> None:
        async with api(tmp_path / "x.db") as (_, client):
            await client.post("jobs?name=a&tag=x&tag=y", content=LINES, headers=NDJSON)
            await client.post("jobs", json={"name": "b", "tags": ["y"], "requests": requests(2)})
            parts = form(("name", b"c"), ("tag", b"z"), ("file", lines(3)))
            assert (await client.post("jobs", **parts)).json()["job"]["tags"] == ["z"]
            found = {
                query: [job["name"] for job in (await client.get(f"jobs?{query}")).json()["jobs"]]
                for query in ("tag=y", "tag=x&tag=y", "tag=z", "tag=X")
            }
            assert found == {"tag=y": ["b", "a"], "tag=x&tag=y": ["a"], "tag=z": ["c"], "tag=X": []}
            assert len((await client.get("jobs?since=2020-01-01")).json()["jobs"]) == 3
            assert (await client.get("jobs?until=2020-01-01")).json()["jobs"] == []
            assert (await client.get("jobs?since=x")).status_code == 400
            refused = await client.post("jobs?tag=a,b", content=lines(4), headers=NDJSON)
            assert (refused.status_code, refused.json()["hint"][:11]) == (400, "a tag has 1")

    asyncio.run(check())


def test_the_library_files_jobs_under_tags_and_finds_them(tmp_path: Path) -> None:
    """`tags=` of `submit` and of `jobs`, with and without `await`."""

    async def check() -> None:
        async with Orchestrator(db=tmp_path / "x.db", sandbox=True) as orc:
            await orc.submit(requests(1), name="a", tags=["x", "y"])
            await orc.submit(requests(2), name="b", tags=["y"])
            assert [status.job.name for status in await orc.jobs(tags=["y"])] == ["b", "a"]
            assert [status.job.tags for status in await orc.jobs(tags=["x", "y"])] == [("x", "y")]
            with pytest.raises(UsageError, match="tags is"):
                await orc.submit(requests(3), tags=["a\nb"])

    asyncio.run(check())
    with SyncOrchestrator(db=tmp_path / "x.db", sandbox=True) as orc:
        assert [status.job.name for status in orc.jobs(tags=["x"])] == ["a"]


def test_the_dashboard_files_jobs_under_tags_and_finds_them(tmp_path: Path) -> None:
    """A field of *New job*; each tag is a link to the jobs that have it, and is escaped."""

    async def check() -> None:
        async with dashboard(tmp_path) as (_, browser):
            parts = form(("name", b"a"), ("tags", b" x&y , <b>,"), ("file", LINES))
            made = await browser.post("/new", content=parts["content"], headers={**HERE, **parts["headers"]})
            assert made.status_code == 303
            page = (await browser.get(made.headers["location"])).text
            assert '<a class="tag" href="/jobs?tag=x%26y">x&amp;y</a>' in page
            assert "<b>,</b>" not in page
            assert ">a</a>" in (await browser.get("/jobs?tag=x%26y")).text
            assert "No such job" in (await browser.get("/jobs?tag=z")).text
            assert ">a</a>" in (await browser.get("/jobs?q=&tag=&since=2020-01-01&until=")).text
            assert ">a</a>" in (await browser.get("/jobs?order=oldest")).text
            assert "No such job" not in (await browser.get("/jobs?order=oldest&tag=x%26y")).text
            assert (await browser.get("/jobs?order=cost")).status_code == 400
            past = (await browser.get("/jobs?until=2020-01-01&tag=x%26y")).text
            assert "No such job" in past
            assert 'name="until" type="date" value="2020-01-01"' in past
            assert (await browser.get("/jobs?since=x")).status_code == 400

    asyncio.run(check())
