"""`/metrics`: what Prometheus reads of a live engine."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from faces.client_world import QUICK, SLOW, requests, settings, short_runtime_folder, until
from prometheus_client.parser import text_string_to_metric_families

from orchestrator import Orchestrator
from orchestrator.config import default_socket_path
from orchestrator.daemon import running_engine

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture(autouse=True)
def _runtime() -> Iterator[None]:
    with short_runtime_folder():
        yield


async def scraped(database: Path, accept: str = "text/plain") -> httpx2.Response:
    """One scrape over the socket of the engine that owns *database*."""
    transport = httpx2.AsyncHTTPTransport(uds=str(default_socket_path(database, os.environ)))
    async with httpx2.AsyncClient(transport=transport, base_url="http://engine", timeout=20) as client:
        response = await client.get("/metrics", headers={"accept": accept})
    assert response.status_code == 200
    return response


async def samples(database: Path) -> Samples:
    """Every sample of one scrape, by name and labels."""
    text = (await scraped(database)).text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_job_that_is_done_shows_in_the_metrics(tmp_path: Path) -> None:
    """Calls, tokens and times of the work; the file's size; which program it is."""
    database = tmp_path / "x.db"

    async def check() -> Samples:
        async with Orchestrator(database, sandbox=True, **QUICK) as orc:
            job = await orc.submit(requests(5))
            await job.wait()
            return await samples(database)

    found = asyncio.run(check())
    assert found["orchestrator_api_requests_total", (("code", "200"), ("op", "create"))] == 1
    assert found["orchestrator_api_requests_total", (("code", "200"), ("op", "results"))] == 1
    assert found["orchestrator_api_request_seconds_count", (("op", "create"),)] == 1
    assert found["orchestrator_batch_turnaround_seconds_count", ()] == 1
    assert found["orchestrator_tokens_total", (("kind", "output"),)] > 0
    assert found["orchestrator_cost_usd_total", (("kind", "kept"), ("model", "claude-haiku-4-5"))] > 0
    assert found["orchestrator_unpriced_answers", ()] == 0
    assert [labels for name, labels in found if name.startswith("orchestrator_budget_")] == []
    assert found["orchestrator_requests", (("state", "succeeded"),)] == 5
    assert found["orchestrator_requests", (("state", "queued"),)] == 0
    assert found["orchestrator_jobs", (("state", "finished"),)] == 1
    assert found["orchestrator_batches", (("state", "settled"),)] == 1
    assert found["orchestrator_in_doubt_batches", ()] == found["orchestrator_duplicates_total", ()] == 0
    assert ("orchestrator_next_expiry_seconds", ()) not in found
    assert ("orchestrator_oldest_unfinished_seconds", ()) not in found
    assert found["orchestrator_store_bytes", ()] > 0
    assert found["process_resident_memory_bytes", ()] > 0
    assert [labels for name, labels in found if name == "orchestrator_build_info"] != []


def test_a_budget_shows_with_what_is_taken_of_it(tmp_path: Path) -> None:
    """Of each scope that has one: what is spent is the ledger's sum, and nothing is in flight any more."""
    database = tmp_path / "x.db"

    async def check() -> Samples:
        async with Orchestrator(database, sandbox=True, budget__max_month="$50", **QUICK) as orc:
            await (await orc.submit(requests(5))).wait()
            return await samples(database)

    found = asyncio.run(check())
    month = (("scope", "month"),)
    assert found["orchestrator_budget_usd", month] == 50
    spent = found["orchestrator_cost_usd_total", (("kind", "kept"), ("model", "claude-haiku-4-5"))]
    assert found["orchestrator_budget_spent_usd", month] == spent
    assert found["orchestrator_budget_reserved_usd", month] == 0
    assert sum(name.startswith("orchestrator_budget_") for name, _ in found) == 3


def test_work_in_flight_shows_its_age_and_its_expiry(tmp_path: Path) -> None:
    """What an alert goes by: how long the oldest job has waited, and how near the 24 hours are."""
    database = tmp_path / "x.db"

    async def check() -> Samples:
        async with Orchestrator(database, sandbox=True, **SLOW) as orc:
            await orc.submit(requests(5))

            async def is_in_flight() -> bool:
                return (await samples(database))["orchestrator_batches", (("state", "in_progress"),)] == 1

            await until(is_in_flight)
            return await samples(database)

    found = asyncio.run(check())
    assert found["orchestrator_in_flight_requests", ()] == 5
    assert 0 < found["orchestrator_oldest_unfinished_seconds", ()] < 300
    assert 80_000 < found["orchestrator_next_expiry_seconds", ()] < 90_000


def test_the_form_is_the_one_that_the_scraper_asks_for(tmp_path: Path) -> None:
    """Prometheus asks for OpenMetrics; a browser or curl gets the plain text form."""
    database = tmp_path / "x.db"

    async def check() -> tuple[httpx2.Response, httpx2.Response]:
        async with running_engine(settings(database, **SLOW), sandbox=True):
            return await scraped(database), await scraped(database, "application/openmetrics-text; version=1.0.0")

    plain, open_metrics = asyncio.run(check())
    assert plain.headers["content-type"].startswith("text/plain")
    assert open_metrics.headers["content-type"].startswith("application/openmetrics-text")
    assert open_metrics.text.endswith("# EOF\n")


def test_a_daemon_watches_its_loop(tmp_path: Path) -> None:
    """In `serve` alone: a command that ends soon has nothing to watch."""

    async def check() -> bool:
        async with running_engine(settings(tmp_path / "x.db", **SLOW), sandbox=True, keep_probing=True) as engine:
            seen = engine.meters.watched

            async def has_ticked() -> bool:
                return engine.meters.watched > seen

            await until(has_ticked)
            return True

    assert asyncio.run(check())
