"""A daemon whose API is a daemon like it, or itself, would buy from itself for ever."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from faces.cli_world import program_in
from faces.client_world import SLOW, settings, short_runtime_folder
from faces.client_world import requests as plain_requests
from faces.messages_world import served

from orchestrator.assembly import Engine
from orchestrator.cli.commands.serve import refuse_own_address
from orchestrator.config import Settings, load_settings
from orchestrator.daemon import running_engine
from orchestrator.domain.account import ENDPOINT
from orchestrator.domain.batches_api import LoopGuard
from orchestrator.domain.errors import UsageError
from orchestrator.domain.model import JobRow, JobSnapshot
from orchestrator.domain.states import JobState
from orchestrator.http_api.listen import TcpListener, is_own_address, listen
from orchestrator.provider.settings import find_address

PUBLIC = "https://batches.example.com"
SECURE_PORT = 443
HERE = ["127.0.0.1", "localhost", "LOCALHOST.", "127.1", "0.0.0.0", "[::ffff:127.0.0.1]"]  # noqa: S104 - asked, not bound


@contextmanager
def listening(folder: Path, host: str) -> Iterator[tuple[TcpListener, int]]:
    token = folder / "token"
    token.write_text("t" * 40)
    token.chmod(0o600)
    more = {"server__listen": f"{host}:0", "server__token_file": str(token), "server__public_url": PUBLIC}
    at = listen(settings(folder / "x.db", **more).server)
    assert at is not None
    with at.listener:
        yield at, at.listener.getsockname()[1]


@pytest.mark.parametrize("host", HERE)
@pytest.mark.parametrize("path", ["", "/", "/x"])
def test_an_address_of_the_daemon_leads_to_it(tmp_path: Path, host: str, path: str) -> None:
    """F4: by whatever name this machine goes."""
    with listening(tmp_path, "127.0.0.1") as (at, port):
        assert is_own_address(at, f"http://{host}:{port}{path}")
        assert not is_own_address(at, f"http://{host}:{port - 1}{path}")
        assert not is_own_address(at, f"http://{host}{path}")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost"])
def test_every_address_of_this_machine_leads_to_a_daemon_that_listens_on_all(tmp_path: Path, host: str) -> None:
    """F4: but none of another machine."""
    with listening(tmp_path, "0.0.0.0") as (at, port):  # noqa: S104 - a test
        assert is_own_address(at, f"http://{host}:{port}")
        assert not is_own_address(at, f"http://192.0.2.1:{port}")
        assert not is_own_address(at, f"http://no..host:{port}")


@pytest.mark.parametrize("url", [PUBLIC, f"{PUBLIC}/", f"{PUBLIC}:443", "https://BATCHES.example.com./x"])
def test_the_public_address_leads_to_the_daemon(tmp_path: Path, url: str) -> None:
    """F4: a proxy brings it back."""
    with listening(tmp_path, "127.0.0.1") as (at, _):
        assert is_own_address(at, url)
        assert not is_own_address(at, url.replace("https", "http").replace(f":{SECURE_PORT}", ""))


@pytest.mark.parametrize("source", ["[api] base_url", "ANTHROPIC_BASE_URL"])
def test_a_daemon_that_would_ask_itself_is_refused_by_what_names_it(tmp_path: Path, source: str) -> None:
    """F4: whoever pastes the lines that `serve` prints, and starts it again in the same shell."""
    with listening(tmp_path, "127.0.0.1") as (at, port):
        url = f"http://localhost:{port}"
        address = find_address(url, {}) if source.startswith("[") else find_address(None, {source: url})
        with pytest.raises(UsageError, match="this very daemon") as caught:
            refuse_own_address(address, at)
        assert caught.value.message.startswith(source)
        assert caught.value.hint is not None
        refuse_own_address(find_address(f"http://localhost:{port - 1}", {}), at)


def test_serve_does_not_start_as_its_own_api(tmp_path: Path) -> None:
    """F4: exit 2 before anything is sent; the sandbox asks nobody."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    env = {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "k"}
    with program_in(tmp_path) as program:
        seen = program("serve", "--listen", url.removeprefix("http://"), env=env)
        assert (seen.code, "this very daemon" in seen.err) == (2, True)
        assert "the engine runs" not in seen.err
        assert not program.db.exists()


# --- rings, and proxies that hide one -----------------------------------------------------------------------------


def test_what_a_store_sent_does_not_come_back_to_it() -> None:
    """F4: not through others either; what others sent is passed on with their names, as many as fit."""
    one, two, three = LoopGuard("one"), LoopGuard("two"), LoopGuard("three")
    assert one.take("")
    assert two.take(one.header)
    assert three.take(two.header)
    assert three.header == "three,two,one"
    assert not one.take(three.header)
    assert not two.take(f"x , two,y{'z' * 100}")
    assert two.header == "two,one"
    for number in range(1000):
        assert two.take(f"s{number}, not a name, ,{'z' * 100}")
    assert len(two.header) < 500
    assert "s999" in two.header


def test_a_create_that_comes_back_is_refused_for_good(tmp_path: Path) -> None:
    """F4: in the API's shape, with a status that neither the SDK nor an orchestrator tries again; nothing is stored."""
    with served(tmp_path, **SLOW) as world:
        lineage = world.engine.passed.header
        sent = {"anthropic-version": "2026-10-21", "orchestrator-lineage": f"another,{lineage}"}
        answer = httpx2.post(f"{world.url}/v1/messages/batches", json={"requests": plain_requests(1)}, headers=sent)
        assert (answer.status_code, answer.json()["error"]["type"]) == (404, "not_found_error")
        assert "ANTHROPIC_BASE_URL" in answer.json()["error"]["message"]
        assert world.jobs() == []
        sent["orchestrator-lineage"] = "another"
        answer = httpx2.post(f"{world.url}/v1/messages/batches", json={"requests": plain_requests(1)}, headers=sent)
        assert answer.status_code == 200


@pytest.mark.anyio
async def test_two_daemons_that_are_each_others_api_pause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """F4: one job each, and no third: the second one's is paused, with the remedy."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    with short_runtime_folder(), listening(tmp_path, "127.0.0.1") as (a, _), listening(tmp_path, "127.0.0.1") as (b, _):
        a.access.tokens = b.access.tokens = ()
        async with (
            running_engine(asking(tmp_path / "a.db", b.url), sandbox=False, tcp=a) as first,
            running_engine(asking(tmp_path / "b.db", a.url), sandbox=False, tcp=b) as second,
            httpx2.AsyncClient() as client,
        ):
            sent = {"anthropic-version": "2026-10-21"}
            body = {"requests": plain_requests(2)}
            assert (await client.post(f"{a.url}/v1/messages/batches", json=body, headers=sent)).status_code == 200
            job = await paused(second)
            assert job.reason_code == ENDPOINT
            assert "orchestrator-lineage" in str(job.reason)
            assert (len(await jobs(first)), len(await jobs(second))) == (1, 1)


def asking(database: Path, url: str) -> Settings:
    flags = {"database.path": str(database), "api.base_url": url, "batching.linger": "0s"}
    return load_settings(flags=flags, env={}, cwd=database.parent)


async def jobs(engine: Engine) -> list[JobRow]:
    return await engine.read(lambda reads: reads.jobs(limit=9))


async def paused(engine: Engine) -> JobSnapshot:
    """Its job that is paused, once there is one."""
    async with asyncio.timeout(10):
        while True:
            for job in await jobs(engine):
                if job.state is JobState.PAUSED:
                    return job
            await asyncio.sleep(0.02)
