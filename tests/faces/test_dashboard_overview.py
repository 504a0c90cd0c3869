"""The overview's numbers and words are true of what there is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
from faces.client_world import SLOW, short_runtime_folder, until
from faces.test_dashboard_pages import LINES, run, submitted

from orchestrator.assembly import Engine
from orchestrator.domain.model import RequestCounts
from orchestrator.http_api.dashboard.attention_parts import matters
from orchestrator.http_api.dashboard.components import segments


@pytest.fixture(autouse=True)
def _runtime() -> Iterator[None]:
    with short_runtime_folder():
        yield


def tiles(text: str) -> dict[str, int]:
    """The number on each tile that counts requests."""
    found = re.findall(r'<span class="label">([A-Za-z ]+)</span><b>([\d,]+)</b>', text)
    return {name: int(number.replace(",", "")) for name, number in found}


def test_one_cause_is_told_once_and_the_tiles_add_up(tmp_path: Path) -> None:
    """Seven jobs that nobody pays for are one matter; what is paused, to be sent or canceled is on some tile."""

    async def check(engine: Engine, client: httpx2.AsyncClient) -> None:
        now = engine.clock.now()
        for number in range(7):
            job = await submitted(client, LINES.replace(b"hello", b"%d" % number), name=f"job-{number}")
            found = await engine.read(lambda reads, job=job: reads.find(job))  # type: ignore[misc]
            await engine.store.commands.pause(found.id, "billing", "no credit", now)
        other = await submitted(client, LINES.replace(b"hello", b"other"), name="other")
        await client.post(f"/api/v1/jobs/{other}/cancel")

        async def canceled() -> bool:
            return bool((await client.get(f"/api/v1/jobs/{other}")).json()["requests"]["canceled"])

        await until(canceled)
        (matter,) = await engine.read(matters)
        assert (matter.code, len(matter.jobs), matter.more) == ("billing", 5, 2)
        text = (await client.get("/")).text
        assert text.count("are paused (billing)") == 1
        assert "<b>7 jobs</b>" in text
        sums = await engine.read(lambda reads: reads.totals().requests)
        shown = tiles(text)
        assert sums.total == 40
        assert shown["In flight"] + shown["Waiting"] + shown["Succeeded"] + shown["Failed"] + sums.canceled == 40
        assert f"{sums.canceled} canceled" in text

    run(tmp_path, check, **SLOW)


def test_notes_that_differ_in_numbers_alone_are_one_matter(tmp_path: Path) -> None:
    """The words of the newest, and how many more there are."""

    async def check(engine: Engine, client: httpx2.AsyncClient) -> None:
        now = engine.clock.now()
        for number, kind in enumerate(("slow", "slow", "lost")):
            name = await submitted(client, LINES.replace(b"hello", b"%d" % number), name=f"job-{number}")
            job = await engine.read(lambda reads, name=name: reads.find(name))  # type: ignore[misc]
            since = now + timedelta(seconds=number)
            await engine.store.attention.attend(job.id, kind, None, f"batch {number} is {kind}", since)
        found = await engine.read(matters)
        assert [(matter.words, matter.alike) for matter in found] == [("batch 1 is slow", 1), ("batch 2 is lost", 0)]

    run(tmp_path, check, **SLOW)


def test_the_charts_range_is_in_the_address(tmp_path: Path) -> None:
    """Named in words on the page; an unknown one is refused."""

    async def check(_: Engine, client: httpx2.AsyncClient) -> None:
        text = (await client.get("/?range=7d")).text
        assert "The last 7 days" in text
        assert 'data-range="7d" data-span="604800" data-step="1800"' in text
        assert 'aria-current="true">7d</a>' in text
        assert "The last hour" in (await client.get("/")).text
        assert (await client.get("/?range=2d")).status_code == 400
        for name in ("1h", "24h", "7d"):
            assert len((await client.get(f"/chart.json?range={name}")).json()) == 5

    run(tmp_path, check, **SLOW)


def test_what_was_never_sent_does_not_look_as_if_it_ran() -> None:
    """A batch that waits for credit has the colour of what waits."""
    counts = RequestCounts(total=4, queued=1, batched=2, succeeded=1, failed=0, canceled=0)
    assert [each["tone"] for each in segments(counts, sent=False)] == ["ok", "wait", "wait"]
    assert [each["tone"] for each in segments(counts, sent=True)] == ["ok", "run", "wait"]
