"""A trial at every face: some requests first, their results alone, and the rest when it is asked for."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from faces.api_world import NDJSON, api, lines
from faces.cli_world import Program, request, sandbox_at, write_lines
from faces.client_world import requests, short_runtime_folder
from faces.test_cli_confirm import LOW
from support.world import in_a_loop

from orchestrator import Orchestrator, UsageError


@pytest.fixture(autouse=True)
def _runtime() -> Iterator[None]:
    with short_runtime_folder():
        yield


def ids_in(program: Program, name: str = "out.jsonl") -> list[str]:
    """The custom_ids of the lines in the file."""
    return [json.loads(line)["custom_id"] for line in (program.folder / name).read_text().splitlines()]


def test_ten_of_eighty_and_then_the_rest(program: Program) -> None:
    """Exit code 0 with what it cost, what the rest will, and the command for that; the same twice sends nothing."""
    source = write_lines(program.folder / "in.jsonl", [request(n) for n in range(80)])
    line = ("run", source, "--sandbox", "-o", "out.jsonl", "--limit", "10")
    for _ in range(2):
        done = program(*line)
        assert done.code == 0, done.err
        assert "10 succeeded for $0.00" in done.err
        assert "; the other 70 are expected to cost $0.00" in done.err
        assert f": `orchestrator run {source} --sandbox -o out.jsonl`" in done.err
        assert ids_in(program) == [str(request(n)["custom_id"]) for n in range(10)]
    told = program("status", "@last", "--sandbox", "--json").facts
    assert (told["state"], told["reason_code"], told["trial"]) == ("paused", "trial", 10)
    assert "the trial of 10 of 80 requests has ended" in program("status", "@last", "--sandbox").out
    assert "trial of 10 ended" in program("ls", "--sandbox").out
    assert program("wait", "@last", "--sandbox").code == 0
    assert program(*line[:-1], "30").code == 0
    assert len(ids_in(program)) == 30
    assert program(*line[:-2]).code == 0
    assert ids_in(program) == [str(request(n)["custom_id"]) for n in range(80)]
    found = program("status", "@last", "--sandbox", "--json").facts
    assert (found["trial"], sum(found["batches"].values())) == (None, 3)
    assert len(program("ls", "--sandbox", "--json").facts["jobs"]) == 1
    later = program(*line)
    assert "limit 10 was not applied: the job has all of its requests on their way" in later.err
    assert len(ids_in(program)) == 80


def test_a_sample_of_a_table_is_a_table_in_the_order_of_the_input(program: Program) -> None:
    """The same seed writes the same rows; a resume writes all of them."""
    (program.folder / "in.csv").write_text("id,text\n" + "".join(f"{n},text {n}\n" for n in range(40)))
    line = ("run", "in.csv", "-p", "{{ text }}", "-m", "claude-haiku-4-5", "--id-column", "id", "--sandbox")
    assert program(*line, "--sample", "5", "--seed", "3", "-o", "out.csv").code == 0
    with (program.folder / "out.csv").open() as file:
        rows = [int(row["id"]) for row in csv.DictReader(file)]
    assert (len(rows), rows) == (5, sorted(rows))
    assert rows != list(range(5))
    assert program("resume", "@last", "--sandbox", "-o", "out.csv").code == 0
    assert len((program.folder / "out.csv").read_text().splitlines()) == 41


def test_a_trial_that_answers_all_writes_all(program: Program) -> None:
    """With identical requests a part may be everything: the job is over then."""
    rows = [{**request(n), "params": request(n % 5)["params"]} for n in range(40)]
    source = write_lines(program.folder / "in.jsonl", rows)
    done = program("run", source, "--sandbox", "-o", "out.jsonl", "--dedupe", "--limit", "20")
    assert (done.code, "40 succeeded" in done.err, len(ids_in(program))) == (0, True, 40), done.err


def test_the_command_line_chooses_another_trial_than_the_job_file(program: Program) -> None:
    """It is stronger, also where the two exclude each other."""
    write_lines(program.folder / "in.jsonl", [request(n) for n in range(40)])
    (program.folder / "job.toml").write_text('input = "in.jsonl"\nlimit = 10\n')
    assert program("run", "job.toml", "--sandbox", "-o", "out.jsonl", "--sample", "5").code == 0
    assert len(ids_in(program)) == 5


def test_a_batch_that_is_adopted_leaves_no_trial(program: Program) -> None:
    """Its file is handed in as a whole for that, which would have the rest sent by the next engine."""
    source = write_lines(program.folder / "in.jsonl", [request(n) for n in range(5)])
    assert program("run", source, "--sandbox", "--limit", "2", "-o", "out.jsonl").code == 0
    refused = program("batches", "adopt", "msgbatch_01", source, "--sandbox")
    assert (refused.code, "of this file is a trial" in refused.err) == (5, True), refused.err
    assert program("status", "@last", "--sandbox", "--json").facts["trial"] == 2


def test_a_trial_is_submitted_as_one_and_waited_for_to_its_end(program: Program) -> None:
    """`submit` says what it is; `wait` does not tell of an engine where there is nothing to wait for."""
    source = write_lines(program.folder / "in.jsonl", [request(n) for n in range(9)])
    assert ", a trial of 2 of 9 requests" in program("submit", source, "--sandbox", "--limit", "2").err
    assert program("resume", "@last", "--sandbox").code == 0
    ended = program("wait", "@last", "--sandbox")
    assert (ended.code, "has ended" in ended.err, "nothing moves" in ended.err) == (0, True, False), ended.err


def test_a_trial_of_a_job_file_names_its_resume(program: Program) -> None:
    """The same command would be the same trial."""
    write_lines(program.folder / "in.jsonl", [request(n) for n in range(9)])
    (program.folder / "job.toml").write_text('input = "in.jsonl"\nlimit = 2\noutput = "out.jsonl"\n')
    done = program("run", "job.toml", "--sandbox")
    assert (done.code, "`orchestrator resume job-" in done.err) == (0, True), done.err
    assert len(ids_in(program)) == 2


def test_only_the_trial_is_confirmed_and_then_the_rest(program: Program) -> None:
    """What nobody was asked about is asked about when it is to be sent."""
    source = write_lines(program.folder / "in.jsonl", [request(n) for n in range(1_000)])
    some = {"ORCHESTRATOR_BUDGET__CONFIRM_ABOVE": "$0.01"}
    with sandbox_at(program) as at:
        assert program("submit", source, env={**some, **at}).code == 5
        refused = program("submit", source, "--limit", "2", env={**LOW, **at})
        assert "the trial, 2 of 1,000 requests, to claude-haiku-4-5 may cost up to $0.0" in refused.err
        assert program("submit", source, "--limit", "10", env={**some, **at}).code == 0
        assert program("submit", source, "--limit", "10", env={**LOW, **at}).code == 0
        refused = program("submit", source, env={**some, **at})
        assert (refused.code, "the other 990 of 1,000 requests to claude" in refused.err) == (5, True)
        assert program("submit", source, "--yes", env={**some, **at}).code == 0
        assert program("submit", source, env={**some, **at}).code == 0


def test_a_check_estimates_all_and_says_what_the_trial_costs(program: Program) -> None:
    """By the size of its own prompts, where they are known: the first are small here, a sample is like the rest."""
    rows = [request(n, messages=[{"role": "user", "content": "word " * (1 + 40 * n)}], max_tokens=1) for n in range(20)]
    source = write_lines(program.folder / "in.jsonl", rows)

    def told(*flags: str) -> tuple[int, float, float]:
        found = program("check", source, "--sandbox", "--json", *flags).facts["estimate"]
        share = found["trial"]
        assert (share["requests"], share["total"]) == (5, 20)
        return found["requests"], float(share["high"]), float(found["cost"]["high"])

    requests, first, whole = told("--limit", "5")
    assert requests == 20
    assert 0 < first < whole / 8
    assert told("--sample", "5")[1] == pytest.approx(whole / 4, rel=0.01)
    assert "trial    5 of 20 requests: $0.0" in program("check", source, "--sandbox", "--limit", "5").out
    assert program("check", source, "--sandbox", "--json", "--limit", "20").facts["estimate"]["trial"] is None


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--limit", "3", "--sample", "3"], "limit and sample exclude each other"),
        (["--limit", "3", "--pilot", "3"], "pilot and limit exclude each other"),
        (["--seed", "3"], "a seed is for a sample, and there is none"),
        (["--limit", "0"], "--limit"),
    ],
)
def test_what_does_not_go_together_is_one_usage_error(program: Program, flags: list[str], says: str) -> None:
    """Exit code 2, before anything is read."""
    source = write_lines(program.folder / "in.jsonl", [request(1)])
    refused = program("run", source, "--sandbox", *flags)
    assert (refused.code, says in refused.err) == (2, True), refused.err


@in_a_loop
async def test_a_trial_by_the_library(tmp_path: Path) -> None:
    """`wait` ends with the trial; the same handed in again sends nothing, without a limit the rest."""
    async with Orchestrator(tmp_path / "store.db", sandbox=True, sandbox__speed=100_000) as orc:
        job = await orc.submit(requests(50), limit=5)
        for _ in range(2):
            found = (await job.wait(60)).job
            assert (found.is_tried, found.trial, found.requests.succeeded) == (True, 5, 5)
            job = await orc.submit(requests(50), limit=5)
        assert len([result async for result in job.results()]) == 5
        whole = await orc.submit(requests(50))
        assert (whole.id, (await whole.wait(60)).job.requests.succeeded) == (job.id, 50)
        with pytest.raises(UsageError, match="an open job has no trial"):
            await (await orc.open_job("open", limit=5)).add(requests(3))


@in_a_loop
async def test_a_trial_over_http(tmp_path: Path) -> None:
    """In the query or beside the requests; the same without it lets the rest go."""
    async with api(tmp_path / "store.db") as (_, client):
        made = await client.post("jobs?sample=2&seed=1", content=lines(9), headers=NDJSON)
        assert (made.status_code, made.json()["job"]["trial"]) == (201, 2), made.text
        refused = await client.post("jobs?limit=2&sample=2", content=lines(9), headers=NDJSON)
        assert (refused.status_code, "exclude each other" in refused.text) == (400, True)
        found = await client.post("estimate?sample=3", content=lines(9), headers=NDJSON)
        assert found.json()["trial"]["requests"] == 3
        whole = await client.post("jobs", content=lines(9), headers=NDJSON)
        assert (whole.status_code, whole.json()["job"]["trial"]) == (200, None)
