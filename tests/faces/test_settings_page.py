"""The settings that are in force, on the page and over REST, as `config show` has them."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from faces.client_world import short_runtime_folder
from faces.test_dashboard_pages import run

from orchestrator.assembly import Engine
from orchestrator.config import setting_rows
from orchestrator.domain.model import JobRow


@pytest.fixture(autouse=True)
def _runtime() -> Iterator[None]:
    with short_runtime_folder():
        yield


async def told(client: httpx2.AsyncClient) -> dict[str, Any]:
    """By REST: value and origin by name."""
    answer = (await client.get("/api/v1/settings")).raise_for_status().json()
    assert answer["sandbox"] is True
    return {row["name"]: (row["value"], row["origin"]) for row in answer["settings"]}


def test_what_is_in_force_and_from_where(tmp_path: Path) -> None:
    """Every setting; those that were set alone; and what a running engine took over since."""

    async def check(engine: Engine, client: httpx2.AsyncClient) -> None:
        rows = list(setting_rows(engine.settings))
        assert await told(client) == {row.name: (row.text, row.origin) for row in rows}
        page = html.unescape((await client.get("/settings")).text)
        assert all(f'<tr id="{row.name}">' in page for row in rows)
        assert f'"{tmp_path / "x.db"}"' in page
        assert "not set: no cap" in page
        assert ("<code>serve</code>" in page, "`" in page) == (True, False)
        of_set = html.unescape((await client.get("/settings?only=set")).text)
        assert '<tr id="database.path">' in of_set
        assert '<tr id="log.format">' not in of_set
        limits = replace(engine.settings.limits, poll_interval=timedelta(seconds=45))
        origins = {**engine.settings.origins, "limits.poll_interval": "orchestrator.toml"}
        engine.retune(replace(engine.settings, limits=limits, origins=origins))
        assert (await told(client))["limits.poll_interval"] == ('"45s"', "orchestrator.toml")
        assert (await client.get("/api/v1/limits")).json()["settings"]["limits.poll_interval"] == "45s"

    run(tmp_path, check)


def test_a_create_goes_by_the_cache_mode_that_was_taken_over(tmp_path: Path) -> None:
    """`cache.mode` is read again while the daemon runs, and creates of the SDK's form ask for it each time."""

    async def check(engine: Engine, client: httpx2.AsyncClient) -> None:
        found = []
        for mode in ("prime", "off"):
            engine.retune(replace(engine.settings, cache=replace(engine.settings.cache, mode=mode)))
            params = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": mode}]}
            body = {"requests": [{"custom_id": "a", "params": params}]}
            answer = await client.post("/v1/messages/batches", json=body, headers={"anthropic-version": "2023-06-01"})
            assert answer.status_code == 200, answer.text
            job = await engine.read(lambda reads: reads.sole("@last"))
            assert isinstance(job, JobRow)
            found.append(job.cache)
        assert found == ["prime", "off"]

    run(tmp_path, check)
