"""What a page costs does not depend on how large its job is: first paint comes from counts that are kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

import pytest
from faces.client_world import requests, settings, short_runtime_folder, talking_to, until
from starlette.datastructures import QueryParams

from orchestrator.daemon import running_engine
from orchestrator.domain.queries import ALL_JOBS
from orchestrator.http_api.dashboard import batches_page, engine_pages, job_pages, request_page
from orchestrator.http_api.dashboard.page import PageRequest
from orchestrator.http_api.dashboard.request_list import AskedRequests
from orchestrator.ports.reads import Reads
from orchestrator.store.sqlite_reader import StoreReader
from orchestrator.views import status_text

SMALL: Final = 200
LARGE: Final = 10_000
#: So many steps of SQLite's machine are counted as one.
GRAIN: Final = 100


def asked(query: str) -> PageRequest:
    """The job's page with *query*."""
    return PageRequest(services=cast("Any", None), path="/jobs/x", params={"ref": "@last"}, query=QueryParams(query))


def inside(tab: str, query: str = "") -> Callable[[Reads], object]:
    """The look of one tab of the job's page."""
    ask = asked(query)
    return lambda reads: job_pages._read_job(ask, tab, status_text.ApiClock(now=datetime.now(UTC)), reads)


LOOKS: Final[dict[str, Callable[[Reads], object]]] = {
    "overview": lambda reads: engine_pages._read_overview(status_text.ApiClock(now=datetime.now(UTC)), reads),
    "jobs": lambda reads: job_pages._read_jobs(ALL_JOBS, None, reads),
    "batches": lambda reads: batches_page._read(None, None, reads),
    "events": lambda reads: engine_pages._read_events(None, reads),
    "requests": inside("requests"),
    "succeeded requests": inside("requests", "state=succeeded"),
    "requests of a batch": inside("requests", "batch=1"),
    "job's batches": inside("batches"),
    "job's events": inside("events"),
    "requests from one on": inside("requests", "from=150"),
    "requests from the end": inside("requests", "order=last&state=succeeded&from=150"),
    "requests by their ids": inside("requests", "id=r0"),
    "succeeded requests by their ids": inside("requests", "id=r0&state=succeeded"),
    "one request": lambda reads: request_page._read("@last", 150, AskedRequests.of(asked("")), reads),
}


async def _made(folder: Path, count: int) -> Path:
    """A store with one finished job of *count* requests, all in one batch."""
    database = folder / f"{count}.db"
    body = "".join(json.dumps(each) + "\n" for each in requests(count))
    async with running_engine(settings(database), sandbox=True), talking_to(database) as client:
        made = (await client.post("jobs?name=x", content=body, timeout=60)).raise_for_status().json()["job"]["id"]

        async def over() -> Any:
            return (await client.get(f"jobs/{made}")).json()["state"] == "finished"

        await until(over, within_s=60)
    return database


def steps(database: Path, look_at: Callable[[Reads], object]) -> int:
    """How many steps SQLite takes for it."""
    taken = 0

    def count() -> int:
        nonlocal taken
        taken += GRAIN
        return 0

    with StoreReader.open(database) as reads:
        reads._file.set_progress_handler(count, GRAIN)
        look_at(cast("Reads", reads))
    return taken


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A small job's store, and one with a job fifty times as large."""
    folder = tmp_path_factory.mktemp("pace")

    async def both() -> tuple[Path, Path]:
        return await _made(folder, SMALL), await _made(folder, LARGE)

    with short_runtime_folder():
        return asyncio.run(both())


@pytest.mark.parametrize("screen", LOOKS)
def test_a_page_of_a_large_job_costs_what_one_of_a_small_job_costs(stores: tuple[Path, Path], screen: str) -> None:
    """Counted in steps of SQLite, so that no walk over the requests can hide on a fast machine."""
    small, large = (steps(store, LOOKS[screen]) for store in stores)
    assert large <= small * 1.5 + 5 * GRAIN
