"""A daemon whose API is a daemon like it, or itself, would buy from itself for ever."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from faces.cli_world import program_in
from faces.client_world import settings

from orchestrator.cli.asking_api import refuse_itself
from orchestrator.domain.errors import UsageError
from orchestrator.http_api.itself import leads_to
from orchestrator.http_api.tcp import Listening, listen
from orchestrator.provider.address import find_address

PUBLIC = "https://batches.example.com"
SECURE_PORT = 443
HERE = ["127.0.0.1", "localhost", "LOCALHOST.", "127.1", "0.0.0.0", "[::ffff:127.0.0.1]"]  # noqa: S104 - asked, not bound


@contextmanager
def listening(folder: Path, host: str) -> Iterator[tuple[Listening, int]]:
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
        assert leads_to(at, f"http://{host}:{port}{path}")
        assert not leads_to(at, f"http://{host}:{port - 1}{path}")
        assert not leads_to(at, f"http://{host}{path}")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost"])
def test_every_address_of_this_machine_leads_to_a_daemon_that_listens_on_all(tmp_path: Path, host: str) -> None:
    """F4: but none of another machine."""
    with listening(tmp_path, "0.0.0.0") as (at, port):  # noqa: S104 - a test
        assert leads_to(at, f"http://{host}:{port}")
        assert not leads_to(at, f"http://192.0.2.1:{port}")
        assert not leads_to(at, f"http://no..host:{port}")


@pytest.mark.parametrize("url", [PUBLIC, f"{PUBLIC}/", f"{PUBLIC}:443", "https://BATCHES.example.com./x"])
def test_the_public_address_leads_to_the_daemon(tmp_path: Path, url: str) -> None:
    """F4: a proxy brings it back."""
    with listening(tmp_path, "127.0.0.1") as (at, _):
        assert leads_to(at, url)
        assert not leads_to(at, url.replace("https", "http").replace(f":{SECURE_PORT}", ""))


@pytest.mark.parametrize("source", ["[api] base_url", "ANTHROPIC_BASE_URL"])
def test_a_daemon_that_would_ask_itself_is_refused_by_what_names_it(tmp_path: Path, source: str) -> None:
    """F4: whoever pastes the lines that `serve` prints, and starts it again in the same shell."""
    with listening(tmp_path, "127.0.0.1") as (at, port):
        url = f"http://localhost:{port}"
        address = find_address(url, {}) if source.startswith("[") else find_address(None, {source: url})
        with pytest.raises(UsageError, match="this very daemon") as caught:
            refuse_itself(address, at)
        assert caught.value.message.startswith(source)
        assert caught.value.hint is not None
        refuse_itself(find_address(f"http://localhost:{port - 1}", {}), at)


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
