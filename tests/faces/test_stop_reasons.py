"""What every face says of answers that are refusals or were cut, of failures by cause, and of a job that failed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
from faces.api_world import api
from faces.cli_world import program_in, request, write_lines
from faces.client_world import requests, short_runtime_folder, until
from faces.test_cli_look import _status
from faces.test_dashboard_pages import dashboard, finished, submitted
from support.world import in_a_loop

from orchestrator.cli.jobs_text import jobs_table, status_lines
from orchestrator.domain.states import BatchState, JobState
from orchestrator.views import status_text
from orchestrator.views.job_views import JobView
from orchestrator.views.status_text import ApiClock, BatchAges, Tone

TOO_LONG = [
    {**each, "params": {**each["params"], "max_tokens": 1_000_000 + number}} for number, each in enumerate(requests(5))
]
BAD = "".join(json.dumps(each) + "\n" for each in TOO_LONG).encode()


@pytest.fixture(autouse=True)
def _runtime() -> Iterator[None]:
    with short_runtime_folder():
        yield


def over(state: JobState = JobState.FINISHED, stops: dict[str, int] | None = None, **counts: Any) -> Any:
    """A job that is over."""
    return replace(_status(state, None, **counts), stop_reasons={} if stops is None else stops)


def test_the_last_line_says_how_answers_ended() -> None:
    """F13: "3 succeeded: 1 refused, 1 cut at max_tokens"; `end_turn` needs no word, and failures stay apart."""
    stops = {"end_turn": 1, "refusal": 1, "max_tokens": 1}
    assert status_text.outcome_words(over(stops=stops, succeeded=3)) == "3 succeeded: 1 refused, 1 cut at max_tokens"
    assert status_text.sentence(over(stops=stops, succeeded=3)).endswith("3 succeeded: 1 refused, 1 cut at max_tokens")
    words = status_text.outcome_words(over(stops={"pause_turn": 2}, succeeded=3, failed=1))
    assert words == "3 succeeded (2 of them paused turns), 1 failed"
    words = status_text.outcome_words(
        over(stops={"end_turn": 111, "refusal": 67, "max_tokens": 3}, succeeded=181, failed=19)
    )
    assert words == "181 succeeded (67 of them refused, 3 cut at max_tokens), 19 failed"
    assert status_text.outcome_words(over(stops={"end_turn": 3}, succeeded=3, failed=1)) == "3 succeeded, 1 failed"
    odd = over(stops={"refusal": 3, "max_tokens": 12, "pause_turn": 1}, succeeded=1000)
    assert status_text.outcome_words(odd) == "1,000 succeeded: 3 refused, 12 cut at max_tokens, 1 paused turn"
    invalid = replace(over(failed=5), invalid_answers=5)
    assert status_text.outcome_words(invalid) == "0 succeeded, 5 failed (5 invalid answers)"
    invalid = replace(over(stops={"refusal": 1}, succeeded=2, failed=5), invalid_answers=1)
    assert status_text.outcome_words(invalid) == "2 succeeded (1 of them refused), 5 failed (1 invalid answer)"
    hostile = status_text.outcome_words(over(stops={"\x1b[31m": 1}, succeeded=1))
    assert hostile.isprintable()


def test_status_and_ls_say_it_too_and_json_has_every_count() -> None:
    """F13: a line of its own in `status`, a column in `ls` where there is something to say, all of it in JSON."""
    found = over(stops={"end_turn": 1, "refusal": 1, "brand_new": 2}, succeeded=4, failed=2)
    found = replace(found, invalid_answers=2)
    api_clock = ApiClock(now=found.job.created_at)
    words = "1 refused, 2 brand_new, 2 invalid answers"
    assert f"answers    {words}" in list(status_lines(found, BatchAges(), api_clock))
    assert words in jobs_table([found, over(succeeded=1)], api_clock)
    assert "ANSWERS" not in jobs_table([over(stops={"end_turn": 1}, succeeded=1)], api_clock)
    view = JobView.of(found)
    assert view.stop_reasons == found.stop_reasons
    assert msgspec.json.decode(msgspec.json.encode(view), type=JobView).to_status(found.job.id) == found


@pytest.mark.parametrize(
    ("counts", "tone", "words"),
    [
        ({"succeeded": 3}, Tone.OK, "finished"),
        ({"succeeded": 2, "failed": 1}, Tone.WARN, "finished, 1 failed"),
        ({"failed": 3}, Tone.BAD, "finished, all failed"),
        ({"failed": 2, "canceled": 1}, Tone.BAD, "finished, 2 failed"),
        ({"succeeded": 2, "canceled": 1}, Tone.WARN, "finished"),
    ],
)
def test_a_job_with_failures_is_not_green(counts: Any, tone: Tone, words: str) -> None:
    """One place decides how a job stands; partly failed is amber, wholly failed is red, and the words count."""
    job = over(**counts).job
    assert (status_text.tone_of(job), status_text.state_words(job)) == (tone, words)
    assert words in jobs_table([over(**counts)], ApiClock(now=job.created_at))


def test_every_state_has_a_tone() -> None:
    """No page stumbles over a state, and only a finished job is green or red."""
    for state in JobState:
        tone = status_text.tone_of(over(state, succeeded=1, failed=1).job)
        assert tone not in {Tone.OK, Tone.BAD}


@in_a_loop
async def test_requests_are_filtered_by_stop_reason_and_by_cause(tmp_path: Path) -> None:
    """F13, F15: over REST, as in the dashboard and in the library."""
    async with api(tmp_path / "x.db", sandbox__faults="refusal=1") as (_, client):
        job = (await client.post("jobs?name=five", content=lines_of(requests(5)))).json()["job"]["id"]
        await ended(client, job)
        view = (await client.get(f"jobs/{job}")).json()
        assert view["stop_reasons"] == {"refusal": 5}
        assert (await client.get("totals")).json()["stop_reasons"] == {"refusal": 5}
        page = (await client.get(f"jobs/{job}/requests?stop_reason=refusal&limit=2")).json()
        rows = [(row["custom_id"], row["stop_reason"]) for row in page["requests"]]
        assert rows == [("r0", "refusal"), ("r1", "refusal")]
        for name in ("end_turn", "x" * 65, "'"):
            none = (await client.get(f"jobs/{job}/requests", params={"stop_reason": name})).json()
            assert none == {"requests": [], "next": None}
        one = (await client.get(f"jobs/{job}/requests/r0")).json()
        assert one["stop_reason"] == "refusal"
        assert set(one["usage"]) == {
            "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens"
        }  # fmt: skip
        bad = (await client.post("jobs?name=bad", content=BAD)).json()["job"]["id"]
        await ended(client, bad)
        (group,) = (await client.get(f"jobs/{bad}/errors")).json()["groups"]
        assert (group["count"], "N" in group["cause"], "1000000" in group["message"]) == (5, True, True)
        cause = {"error_cause": str(group["cause"])}
        rows = (await client.get(f"jobs/{bad}/requests", params=cause)).json()["requests"]
        assert len(rows) == 5
        metrics = (await client.get("http://engine/metrics")).text
        assert 'orchestrator_answers_total{stop_reason="refusal"} 5.0' in metrics


async def ended(client: httpx2.AsyncClient, job: str) -> None:
    """Wait for the end of *job*."""

    async def is_over() -> Any:
        return (await client.get(f"jobs/{job}")).json()["state"] == "finished"

    await until(is_over)


def lines_of(rows: list[dict[str, Any]]) -> bytes:
    """JSON Lines."""
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@in_a_loop
async def test_the_dashboard_shows_refusals_causes_and_failed_jobs_as_what_they_are(tmp_path: Path) -> None:
    """F13, F15: the job's page, its filter, the overview; a job in which everything failed wears no green tick."""
    async with dashboard(tmp_path, sandbox__faults="refusal=1") as (_, client):
        good = await submitted(client)
        await finished(client, good)
        bad = await submitted(client, BAD, name="bad")
        await finished(client, bad)
        page = (await client.get(f"/jobs/{good}")).text
        assert "Of those that succeeded: 5 refused" in page
        assert "?stop=refusal" in page
        assert (await client.get(f"/jobs/{good}?stop=refusal")).text.count("data-row") == 5
        assert "No request fits" in (await client.get(f"/jobs/{good}?stop=max_tokens")).text
        overview = (await client.get("/")).text
        assert "5 refused" in overview
        for where in ("/", "/jobs", f"/jobs/{bad}"):
            shown = (await client.get(where)).text
            assert "finished, all failed" in shown, where
            assert ("tone-ok" in shown.split("job-time")[0]) == (where != f"/jobs/{bad}"), where
        failures = (await client.get(f"/jobs/{bad}?tab=failures")).text
        assert failures.count('id="group-') == 1
        assert "such as:" in failures


def test_the_command_groups_failures_and_shows_a_true_example(tmp_path: Path) -> None:
    """F15: `errors` says the cause once, one message word for word, and how many; `run` ends in words, not in ✓."""
    with program_in(tmp_path) as program:
        write_lines(tmp_path / "in.jsonl", [request(n, max_tokens=10_000_000 + n) for n in range(4)])
        ended = program("run", "in.jsonl", "--sandbox")
        assert (ended.code, "✗ done" in ended.err) == (1, True)
        shown = program("errors", "@last", "--sandbox")
        assert "4  invalid_request_error: max_tokens: N" in shown.out
        assert "such as: max_tokens: 10000000" in shown.out


def test_the_command_says_how_answers_ended(tmp_path: Path) -> None:
    """F13: the last line of `run`, `wait`, `status`, `ls`."""
    with program_in(tmp_path) as program:
        write_lines(tmp_path / "in.jsonl", [request(n) for n in range(3)])
        refusing = {"ORCHESTRATOR_SANDBOX__FAULTS": "refusal=1"}
        ended = program("run", "in.jsonl", "--sandbox", env=refusing)
        assert (ended.code, "3 succeeded: 3 refused" in ended.err) == (0, True)
        assert "answers    3 refused" in program("status", "@last", "--sandbox").out
        assert program("ls", "--json", "--sandbox").facts["jobs"][0]["stop_reasons"] == {"refusal": 3}


def test_nothing_is_at_the_api_is_not_said_of_a_doubt() -> None:
    """N (a) 6: what is in doubt or being sent the API may have; only without both it has nothing."""
    none = {state.value: 0 for state in BatchState}
    running = replace(_status(queued=1), batches=none)
    assert status_text.api_words(running, "") == ""
    doubtful = replace(running, batches={**none, "in_doubt": 2, "submitting": 1})
    assert status_text.api_words(doubtful, "") == "1 batch being sent; 2 batches in doubt: the API may have them"
    assert status_text.api_words(replace(running, batches={**none, "in_doubt": 1}), "oldest 00:07").endswith(
        "may have it"
    )
