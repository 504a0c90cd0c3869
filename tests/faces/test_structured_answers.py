"""Answers with a schema at every face: asked for by one command, parsed in the library, columns, on a page."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from faces.api_world import api
from faces.cli_world import Program
from faces.client_world import QUICK, short_runtime_folder
from faces.test_dashboard_pages import dashboard, finished

from orchestrator import OutputError, SyncJob, SyncOrchestrator, UsageError

ROWS = [{"id": f"{number:03}", "text": f"review {number}"} for number in range(40)]
ASK: dict[str, Any] = {"prompt": "Classify: {{ text }}", "model": "claude-haiku-4-5"}
WORDS = "label, score float, why?"
FIELDS = ["label", "score", "why"]


@pytest.fixture(scope="module")
def orc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SyncOrchestrator]:
    folder = tmp_path_factory.mktemp("structured")
    quick = {**QUICK, "sandbox__faults": "bad_json=.2"}
    with short_runtime_folder(), SyncOrchestrator(folder / "store.db", sandbox=True, **quick) as found:
        yield found


@pytest.fixture(scope="module")
def job(orc: SyncOrchestrator) -> SyncJob:
    """Some of its answers are not JSON, and are not asked for again."""
    made = orc.submit(ROWS, name="reviews", schema=WORDS, retry_invalid=0, **ASK)
    made.wait()
    return made


def test_the_library_gives_each_answer_as_it_was_asked_for(job: SyncJob) -> None:
    """A dict where it fits, None where it does not, with the text beside it; the same as columns."""
    found = list(job.results())
    good = [result for result in found if result.parsed is not None]
    assert 20 < len(good) < len(found) == len(ROWS)
    assert all(result.parsed == json.loads(result.text or "") for result in good)
    flat = job.to_dicts()
    assert list(flat[0])[:6] == ["custom_id", "id", "text", *FIELDS]
    for row, result in zip(flat, found, strict=True):
        fields = result.parsed or {}
        assert [row[name] for name in FIELDS] == [fields.get(name) for name in FIELDS]
        assert row["unparsed_answer"] == (None if result.parsed else result.text)
        assert row["status"] == ("succeeded" if result.parsed else "invalid")


def test_lines_say_of_a_bad_answer_that_it_failed_and_keep_its_message(job: SyncJob, tmp_path: Path) -> None:
    """In the API's form of a failure, so that nobody takes it for a success; its text stands under `answer`."""
    path = tmp_path / "out.jsonl"
    assert job.export(path) == len(ROWS)
    lines = [json.loads(line)["result"] for line in path.read_text(encoding="utf-8").splitlines()]
    for line, result in zip(lines, job.results(), strict=True):
        if result.parsed is not None:
            assert (line["type"], "error" in line) == ("succeeded", False)
            continue
        assert (line["type"], line["error"]["error"]["type"]) == ("errored", "invalid_answer")
        assert (line["answer"]["content"][0]["text"], "message" in line) == (result.text, False)


def test_a_table_of_fields_is_the_jobs_own(orc: SyncOrchestrator, job: SyncJob, tmp_path: Path) -> None:
    """It is replaced, whatever columns were chosen then; that of another job is not."""
    path = tmp_path / "out.csv"
    for columns in (None, ["answer", "label"], None):
        assert job.export(path, columns=columns) == len(ROWS)
    with path.open(newline="", encoding="utf-8") as file:
        assert [row["id"] for row in csv.DictReader(file)] == [row["id"] for row in ROWS]
    other = orc.submit([{**row, "text": "other"} for row in ROWS], schema=WORDS, retry_invalid=0, **ASK)
    other.wait()
    with pytest.raises(OutputError, match="is not this job's output"):
        other.export(path)
    own = tmp_path / "own.csv"
    other.export(own)
    assert ",invalid," in own.read_text()
    assert other.retry() > 0  # the table of before has what is not there any more
    other.wait()
    assert other.export(own) == len(ROWS)


def test_a_schema_that_is_none_is_refused_with_its_place(orc: SyncOrchestrator) -> None:
    """In words, as JSON or as a dict; nothing is made."""
    before = len(orc.jobs())
    wrong: list[Any] = ["label, n list", '{"type":"object"}', {"type": "string", "minLength": 1}]
    for schema, why in zip(wrong, ["no type of the field n", "open to other", "/minLength of the schema"], strict=True):
        with pytest.raises(UsageError, match=why):
            orc.submit(ROWS, schema=schema, **ASK)
    assert len(orc.jobs()) == before


def test_http_has_the_fields_in_tables_and_on_the_page_of_a_request(tmp_path: Path) -> None:
    """The columns of the command; on the page beside the answer, as text."""

    async def check() -> None:
        fields = {"<b>": {"type": "string"}, "n": {"type": "integer"}}
        schema = {"type": "object", "properties": fields, "required": [*fields], "additionalProperties": False}
        how = {"template": ASK["prompt"], "model": ASK["model"], "schema": json.dumps(schema)}
        async with api(tmp_path / "x.db") as (_, client):
            file = {"file": ("in.csv", b"text\ngood\n")}
            made = (await client.post("jobs", data=how, files=file)).raise_for_status().json()["job"]["id"]
            table = list(csv.reader(io.StringIO((await client.get(f"jobs/{made}/results.csv?follow=1")).text)))
            assert table[0][:5] == ["custom_id", "text", "<b>", "n", "status"]
            assert table[1][:3] == ["row-1", "good", "SANDBOX <b>"]
            page = (await client.get(f"http://engine/jobs/{made}/requests/1")).text
            assert "Answer, by field" in page
            assert "SANDBOX &lt;b&gt;</td>" in page
            wrong = await client.post("jobs", data={**how, "schema": "n list"}, files=file)
            assert (wrong.status_code, "no type of the field n" in wrong.text) == (400, True)

    asyncio.run(check())


def test_http_counts_invalid_answers_and_finds_them(tmp_path: Path) -> None:
    """On the job's page, with a filter, in the lists of jobs, as JSON, as a metric."""

    async def check() -> None:
        how = {"template": ASK["prompt"], "model": ASK["model"], "schema": "label", "retry_invalid": "0"}
        async with dashboard(tmp_path, sandbox__faults="bad_json=1") as (_, client):
            file = {"file": ("in.csv", b"text\ngood\nbad\n")}
            made = (await client.post("/api/v1/jobs", data=how, files=file)).raise_for_status().json()["job"]["id"]
            await finished(client, made)
            job, totals = [(await client.get(f"/api/v1/{path}")).json() for path in (f"jobs/{made}", "totals")]
            assert (job["invalid_answers"], totals["invalid_answers"]) == (2, 2)
            where = {"error_type": "invalid_answer"}
            found = (await client.get(f"/api/v1/jobs/{made}/requests", params=where)).json()["requests"]
            assert [row["state"] for row in found] == ["failed", "failed"]
            assert "orchestrator_invalid_answers 2.0" in (await client.get("/metrics")).text
            for only, count in (("invalid", 2), ("succeeded", 0), ("succeeded&only=invalid_answer", 2)):
                lines = (await client.get(f"/api/v1/jobs/{made}/results?only={only}")).text.splitlines()
                table = (await client.get(f"/api/v1/jobs/{made}/results.csv?only={only}")).text
                assert (len(lines), len(list(csv.reader(io.StringIO(table)))) - 1) == (count, count)
            shown = (await client.get(f"/jobs/{made}")).text
            assert "Of those that failed: 2 invalid answers" in shown
            assert "error=invalid_answer" in shown
            chosen = await client.get(f"/jobs/{made}?state=failed&error=invalid_answer")
            assert chosen.text.count("data-row") == 2
            for path in ("/", "/jobs"):
                assert "2 invalid answers" in (await client.get(path)).text

    asyncio.run(check())


def test_one_command_from_a_table_to_a_column_of_labels(program: Program) -> None:
    """In an empty folder; the same again writes the same."""
    (program.folder / "reviews.csv").write_text('id,text\n007,"fast, nice"\n008,bad\n')
    ask = ("-p", "Classify as positive or negative: {{ text }}", "-m", "claude-haiku-4-5", "--schema", "label")
    for _ in range(2):
        done = program("run", "reviews.csv", *ask, "-o", "out.csv", "--sandbox")
        assert done.code == 0, done.err
        rows = list(csv.reader(io.StringIO((program.folder / "out.csv").read_text())))
        assert [row[:5] for row in rows] == [
            ["custom_id", "id", "text", "label", "status"],
            ["row-1", "007", "fast, nice", "SANDBOX label", "succeeded"],
            ["row-2", "008", "bad", "SANDBOX label", "succeeded"],
        ]
    for only, count in (("succeeded", 2), ("invalid", 0), ("end_turn", 2)):
        for name in ("some.csv", "some.parquet"):
            done = program("results", "@last", "--only", only, "-o", name, "--sandbox", "--overwrite")
            assert f"{count} results -> {name}" in done.err
    assert program("results", "@last", "--only", "invalid", "--cost", "-o", "some.csv", "--sandbox").code == 2
