"""The form of a new job as a browser without JavaScript sends it, and what it leads to."""

from __future__ import annotations

import asyncio
import html
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest
from faces.client_world import SLOW, short_runtime_folder
from faces.test_dashboard_pages import HERE, LINES, run

from orchestrator.assembly import Engine
from orchestrator.http_api.app import build_app
from orchestrator.serving import services_of

#: As a browser sends the part of a file when none was chosen.
NO_FILE: Final = {"file": ("", b"", "application/octet-stream")}


@pytest.fixture(autouse=True)
def _runtime() -> Iterator[None]:
    with short_runtime_folder():
        yield


async def handed_in(client: httpx2.AsyncClient, file: Any = NO_FILE, **fields: str) -> httpx2.Response:
    """The answer to the form."""
    return await client.post("/new", data=fields, files=file, headers=HERE)


async def job_of(client: httpx2.AsyncClient, taken: httpx2.Response) -> dict[str, Any]:
    """The job that a form led to."""
    assert taken.status_code == 303, taken.text
    found: dict[str, Any] = (await client.get(f"/api/v1{taken.headers['location']}")).json()
    return found


def test_the_form_has_every_option_of_a_job(tmp_path: Path) -> None:
    """As the command line has them; an empty field says nothing, and a wrong one is told."""
    said = {"api_version": "2023-06-01", "betas": "b-1, a_2", "priority": "70", "key": "k 1", "tags": "x, y"}

    async def check(_: Engine, client: httpx2.AsyncClient) -> None:
        file = {"file": ("five.jsonl", LINES)}
        job = await job_of(client, await handed_in(client, file, **said))
        assert (job["api_version"], job["betas"], job["priority"]) == ("2023-06-01", ["a_2", "b-1"], 70)
        assert job["tags"] == ["x", "y"]
        same = await handed_in(client, {"file": ("other.jsonl", LINES.replace(b"hello", b"other"))}, key="k 1")
        assert same.status_code == 409  # the key is of another content
        again = await job_of(client, await handed_in(client, file, **(said | {"key": ""})))
        assert again["id"] == job["id"]
        another = await job_of(client, await handed_in(client, file, **(said | {"key": "", "new": "1"})))
        assert another["id"] != job["id"]
        for wrong in ({"priority": "101"}, {"api_version": "2024-01-01"}, {"betas": "-"}):
            told = await handed_in(client, file, new="1", name="a name", **wrong)
            assert (told.status_code, "It was not submitted" in told.text, 'value="a name"' in told.text) == (
                400,
                True,
                True,
            )

    run(tmp_path, check, **SLOW)


def test_a_pasted_text_stands_for_a_file(tmp_path: Path) -> None:
    """Requests, or cells of a spreadsheet; what is refused stays in the form, and a file beside it is refused."""
    cells = "id\tname\r\nk1\tkettle\r\nl1\tlamp\r\n"
    of_rows = {"template": "Is the {{ name }} good?", "model": "claude-haiku-4-5", "paste_as": "tsv"}

    async def check(_: Engine, client: httpx2.AsyncClient) -> None:
        lines = LINES.decode().replace("\n", "\r\n")
        job = await job_of(client, await handed_in(client, paste=lines, paste_as="jsonl"))
        assert (job["name"], job["requests"]["total"]) == ("pasted", 5)
        same = await job_of(client, await handed_in(client, {"file": ("five.jsonl", LINES)}))
        assert same["id"] == job["id"]  # to the byte
        refused = await handed_in(client, paste=cells, **(of_rows | {"template": "{{ nothing }}"}))
        assert refused.status_code == 422
        assert "is no column, and the prompt uses it" in refused.text
        assert "k1\tkettle" in refused.text
        table = await job_of(client, await handed_in(client, paste=cells, **of_rows))
        assert table["requests"]["total"] == 2
        both = await handed_in(client, {"file": ("five.jsonl", LINES)}, paste=lines, paste_as="jsonl")
        assert (both.status_code, "a file and a pasted text" in both.text) == (400, True)
        assert "no file was chosen" in (await handed_in(client)).text
        for size, why in ((2**20 + 1, "'paste' has more than 1,024 KiB"), (2**20 - 1, "more than 1 MiB of them")):
            long = await handed_in(client, paste="x" * size, paste_as="jsonl")
            assert (long.status_code, why in html.unescape(long.text)) == (400, True)
            assert "save the text as a file" in long.text
        other = await handed_in(client, paste=lines, paste_as="jsonl", name="x" * 70_000)
        assert "'name' has more than 64 KiB" in html.unescape(other.text)
        assert "save the text as a file" not in other.text
        assert "say its form: jsonl" in (await handed_in(client, paste=lines, paste_as="zip")).text
        table_as_lines = await handed_in(client, paste=cells.replace("\t", ","), **(of_rows | {"paste_as": "jsonl"}))
        assert "is no JSON Lines" in table_as_lines.text

    run(tmp_path, check, **SLOW)


def test_a_hint_for_a_shell_leads_to_the_store_that_is_shown(tmp_path: Path) -> None:
    """A command without it would feed the store of the default place."""
    line = f"orchestrator submit requests.jsonl --db {shlex.quote(str(tmp_path / 'x.db'))} --sandbox"

    async def check(engine: Engine, client: httpx2.AsyncClient) -> None:
        for path in ("/", "/jobs", "/new"):
            assert line in html.unescape((await client.get(path)).text)
        app = build_app(await services_of(engine, asyncio.Event()))
        for host, lead in (("localhost:1", "--db"), ("[::1]:1", "--db"), ("batch.example.com", "--server")):
            transport = httpx2.ASGITransport(app=app, client=("10.0.0.9", 7))
            async with httpx2.AsyncClient(transport=transport, base_url=f"https://{host}") as browser:
                page = html.unescape((await browser.get("/new")).text)
            assert f"orchestrator submit requests.jsonl {lead} " in page
            assert ("--server https://batch.example.com</pre>" in page) is (lead == "--server")

    run(tmp_path, check)
