"""Who is let in over TCP: names, origins, tokens (T80 to T83), asked on a real connection."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from faces.client_world import settings, short_runtime_folder

from orchestrator.config import DEFAULT_LISTEN, Settings
from orchestrator.daemon import running_engine
from orchestrator.domain.errors import UsageError
from orchestrator.domain.urls import is_loopback
from orchestrator.http_api.app import build_app
from orchestrator.http_api.guard.access_rules import AccessRules
from orchestrator.http_api.guard.access_tokens import read_token
from orchestrator.http_api.listen import listen

TOKEN = "t0k3n-" + "x" * 40
_NOT_THE_TOKEN = ("", "authorization: Bearer wrong", f"authorization: Bearer {TOKEN[:-1]}", "x-api-key: no")


@pytest.fixture(autouse=True)
def _runtime() -> Iterator[None]:
    with short_runtime_folder():
        yield


def token_file(folder: Path, text: str = TOKEN, *, mode: int = 0o600) -> Path:
    path = folder / "token"
    path.write_text(text)
    path.chmod(mode)
    return path


@asynccontextmanager
async def served(folder: Path, **more: str) -> AsyncIterator[int]:
    """An engine on a free port; gives the port."""
    chosen = settings(folder / "x.db", server__listen="127.0.0.1:0", **more)
    at = listen(chosen.server)
    assert at is not None
    async with running_engine(chosen, sandbox=True, tcp=at):
        yield int(at.url.rpartition(":")[2])


async def ask(port: int, head: str, body: bytes = b"") -> tuple[int, bytes]:
    """Send one raw request (its lines, without the last empty ones); status and everything that came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        text = "\r\n".join(line.strip() for line in head.strip().split("\n"))
        writer.write(text.encode("latin-1") + b"\r\nconnection: close\r\n\r\n" + body)
        answer = await reader.read()
        return int(answer.split(b" ", 2)[1]), answer
    finally:
        writer.close()


def routes(chosen: Settings) -> list[tuple[str, str]]:
    """Every method and path that the application has, with something in the place of each parameter."""
    import re

    async def found() -> list[tuple[str, str]]:
        from orchestrator.serving import services_of

        async with running_engine(chosen, sandbox=True) as engine:
            app = build_app(await services_of(engine, asyncio.Event()))
        return [
            (method, re.sub(r"\{[^}]*\}", "x", getattr(route, "path", "")))
            for route in app.routes
            for method in sorted(getattr(route, "methods", None) or {"GET"})
        ]

    return asyncio.run(found())


def test_every_route_asks_for_the_token_but_the_one_that_says_that_the_process_lives(tmp_path: Path) -> None:
    """T80: no token, a wrong one, a part of it, one in the query: the same 401 everywhere."""
    paths = routes(settings(tmp_path / "routes.db"))
    assert len(paths) > 10

    async def check() -> None:
        async with served(tmp_path, server__token_file=str(token_file(tmp_path))) as port:
            bodies = set()
            for method, path, shown in ((*route, each) for route in paths for each in _NOT_THE_TOKEN):
                query = "" if shown else f"?token={TOKEN}"
                head = f"{method} {path}{query} HTTP/1.1\nhost: 127.0.0.1:{port}\n{shown}"
                status, answer = await ask(port, head)
                if path == "/livez":
                    assert status != 401, method
                    continue
                assert status == 401, (method, path, shown)
                if method != "HEAD" and not path.startswith("/v1/"):
                    bodies.add(answer.partition(b"\r\n\r\n")[2])
            assert len(bodies) == 1

    asyncio.run(check())


def test_the_token_is_taken_as_bearer_as_the_sdk_shows_it_and_as_a_password(tmp_path: Path) -> None:
    """N 1.18: one token for programs, the official SDK and people; a browser is never told to ask by its own box."""
    basic = base64.b64encode(f"anybody:{TOKEN}".encode()).decode()

    async def check() -> None:
        async with served(tmp_path, server__token_file=str(token_file(tmp_path))) as port:
            for shown in (f"Authorization: Bearer {TOKEN}", f"X-Api-Key: {TOKEN}", f"authorization: basic {basic}"):
                status, _ = await ask(port, f"GET /api/v1/version HTTP/1.1\nhost: localhost:{port}\n{shown}")
                assert status == 200, shown
            _, page = await ask(port, f"GET / HTTP/1.1\nhost: localhost:{port}\naccept: text/html")
            assert b'www-authenticate: Bearer realm="orchestrator"' in page
            assert b'name="token"' in page
            _, api = await ask(port, f"POST /v1/messages/batches HTTP/1.1\nhost: localhost:{port}\ncontent-length: 0")
            assert b'"authentication_error"' in api

    asyncio.run(check())


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("host: 127.0.0.1:{port}", 200),
        ("host: localhost:{port}", 200),
        ("HOST: LOCALHOST", 200),
        ("host: [::1]:{port}", 200),
        ("host: batches.example.com", 200),
        ("host: batches.example.com:443", 200),
        ("host: evil.example", 421),
        ("host: 127.0.0.1.evil:{port}", 421),
        ("host: localhost.:{port}", 421),
        ("host: localhost:1", 421),
        ("host: user@localhost:{port}", 421),
        ("host: ", 421),
        ("x: y", 400),
        ("host: localhost\nhost: evil", 400),
    ],
)
def test_only_our_own_names_are_answered(tmp_path: Path, host: str, status: int) -> None:
    """T82: a page that has its name resolve to this machine gets nothing (DNS rebinding)."""

    async def check() -> None:
        async with served(tmp_path, server__allowed_hosts="batches.example.com") as port:
            found, _ = await ask(port, f"GET /api/v1/version HTTP/1.1\n{host.format(port=port)}")
            assert found == status
            absolute, _ = await ask(port, f"GET http://evil.example/livez HTTP/1.1\nhost: localhost:{port}")
            assert absolute == 400

    asyncio.run(check())


@pytest.mark.parametrize(
    ("method", "headers", "allowed"),
    [
        ("POST", "origin: http://localhost:{port}", True),
        ("POST", "origin: https://localhost:{port}", True),
        ("POST", "origin: http://evil.example", False),
        ("POST", "origin: null", False),
        ("POST", "origin: http://localhost:1", False),
        ("POST", "sec-fetch-site: cross-site", False),
        ("POST", "sec-fetch-site: same-origin", True),
        ("GET", "origin: http://evil.example", False),
        ("GET", "sec-fetch-site: cross-site", True),
        ("OPTIONS", "origin: http://evil.example\naccess-control-request-method: POST", False),
    ],
)
def test_a_page_of_another_site_changes_nothing_and_reads_nothing(
    tmp_path: Path, method: str, headers: str, allowed: bool
) -> None:
    """T83: no CORS answer, ever; what a browser marks as another site's is refused."""

    async def check() -> None:
        async with served(tmp_path) as port:
            head = f"{method} /api/v1/version HTTP/1.1\nhost: localhost:{port}\n{headers.format(port=port)}"
            status, answer = await ask(port, head)
            assert (status != 403) is allowed
            assert b"access-control-" not in answer.lower()

    asyncio.run(check())


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain"])
def test_what_a_form_of_another_site_can_send_is_no_input(tmp_path: Path, kind: str) -> None:
    """T83: a form needs no permission of the browser to send these."""

    async def check() -> None:
        async with served(tmp_path) as port:
            head = f"POST /api/v1/jobs HTTP/1.1\nhost: localhost:{port}\ncontent-type: {kind}\ncontent-length: 2"
            status, answer = await ask(port, head, b"{}")
            assert status == 415
            assert b"application/x-ndjson" in answer

    asyncio.run(check())


def test_an_address_that_others_reach_needs_a_token(tmp_path: Path) -> None:
    """T81: loopback only, unless who asks can be told apart."""
    for address in ("0.0.0.0:0", "[::]:0"):
        with pytest.raises(UsageError, match="no token is set"):
            listen(settings(tmp_path / "x.db", server__listen=address).server)
    path = token_file(tmp_path)
    at = listen(settings(tmp_path / "x.db", server__listen="0.0.0.0:0", server__token_file=str(path)).server)
    assert at is not None
    at.listener.close()
    assert listen(settings(tmp_path / "x.db", server__listen="").server) is None
    assert [is_loopback(host) for host in ("localhost", "127.8.8.8", "::1", "192.168.0.1", "example.com")] == [
        True, True, True, False, False
    ]  # fmt: skip


def test_a_taken_address_is_told_and_only_the_default_gives_way(tmp_path: Path) -> None:
    """Two daemons on one machine are common; a port that somebody chose is not silently another."""
    first = listen(settings(tmp_path / "x.db", server__listen="127.0.0.1:0").server)
    assert first is not None
    taken = first.url.removeprefix("http://")
    with pytest.raises(UsageError, match="cannot be listened on"):
        listen(settings(tmp_path / "x.db", server__listen=taken).server)
    first.listener.close()
    one, two = listen(settings(tmp_path / "x.db").server), listen(settings(tmp_path / "x.db").server)
    assert one is not None
    assert two is not None
    assert one.url != two.url
    assert two.taken_port == 8787
    one.listener.close()
    two.listener.close()


def test_the_default_address_that_somebody_names_is_as_good_as_any_other(tmp_path: Path) -> None:
    """N 1.13: by flag, file or variable: who asks for 8787 gets it or an error, never another port."""
    one = listen(settings(tmp_path / "x.db").server)
    assert one is not None
    named = settings(tmp_path / "x.db", server__listen=DEFAULT_LISTEN)
    with pytest.raises(UsageError, match=r"127\.0\.0\.1:8787 cannot be listened on"):
        listen(named.server, is_chosen=named.is_set("server.listen"))
    one.listener.close()
    assert not settings(tmp_path / "x.db").is_set("server.listen")


def test_a_token_that_others_can_read_or_guess_is_refused(tmp_path: Path) -> None:
    """A token is worth what its file's mode is; no error shows it."""
    assert read_token(token_file(tmp_path, TOKEN + "\n")) == TOKEN
    for text, mode in ((TOKEN, 0o644), (TOKEN, 0o660), ("short", 0o600), (f"{TOKEN} {TOKEN}", 0o600), ("", 0o600)):
        path = token_file(tmp_path, text, mode=mode)
        with pytest.raises(UsageError) as caught:
            read_token(path)
        assert TOKEN not in f"{caught.value} {caught.value.cause} {caught.value.hint}"
    for path in (tmp_path, tmp_path / "nothing", Path(os.devnull)):
        with pytest.raises(UsageError, match=str(path)):
            read_token(path)


@pytest.mark.parametrize(
    ("headers", "peer", "url"),
    [
        ("host: 127.0.0.1:8787", "127.0.0.1", "http://127.0.0.1:8787"),
        ("host: localhost", "127.0.0.1", "http://localhost"),
        ("host: localhost:18443", "127.0.0.1", "https://localhost:18443"),
        ("host: localhost:8787", "127.0.0.1", "http://localhost:8787"),
        ("host: batches.example.com", "127.0.0.1", "https://batches.example.com"),
        ("host: batches.example.com:8787", "10.0.0.9", "http://batches.example.com:8787"),
        ("host: batches.example.com\nx-forwarded-proto: http", "127.0.0.1", "http://batches.example.com"),
        ("host: batches.example.com\nx-forwarded-proto: HTTPS", "::1", "https://batches.example.com"),
        ("host: 127.0.0.1:8787\nx-forwarded-proto: https, http", "::ffff:127.0.0.1", "https://127.0.0.1:8787"),
        ("host: batches.example.com:8787\nx-forwarded-proto: https", "10.0.0.9", "http://batches.example.com:8787"),
        ("host: batches.example.com:8787\nx-forwarded-proto: ftp", "127.0.0.1", "http://batches.example.com:8787"),
        ("host: public.example.com", "10.0.0.9", "https://public.example.com:8443"),
        ("host: PUBLIC.example.com:8443\nx-forwarded-proto: http", "127.0.0.1", "https://public.example.com:8443"),
    ],
)
def test_links_are_made_for_the_address_that_the_caller_sees(headers: str, peer: str, url: str) -> None:
    """F1: https where the outside is https; only a proxy on this machine is believed, and `public_url` is stronger."""
    names = ("localhost", "batches.example.com")
    at = AccessRules("127.0.0.1", 8787, allowed_hosts=names, tokens=(), public_url="https://public.example.com:8443")
    pairs = [
        (name.encode(), value.strip().encode()) for name, _, value in (x.partition(":") for x in headers.split("\n"))
    ]
    assert at.judge("GET", "/", [pairs[0]]) is None
    assert at.base_url(pairs, peer) == url


def test_the_host_of_public_url_is_answered_and_no_other_port_of_it(tmp_path: Path) -> None:
    """F1, F19: one setting is enough behind a proxy; an address with a path is refused, as no page would work there."""
    at = AccessRules("127.0.0.1", 8787, allowed_hosts=(), tokens=(), public_url="https://public.example.com")
    assert at.judge("GET", "/", [(b"host", b"public.example.com:443")]) is None
    assert at.judge("GET", "/", [(b"host", b"public.example.com:444")]) is not None
    assert at.judge("GET", "/", [(b"host", b"example.com")]) is not None
    for wrong in ("https://example.com/batches", "example.com", "https://me:pw@example.com", "https://example.com?x=1"):
        with pytest.raises(UsageError, match="public_url"):
            settings(tmp_path / "x.db", server__public_url=wrong)
    assert (
        settings(tmp_path / "x.db", server__public_url="https://Example.com/").server.public_url
        == "https://example.com"
    )


@pytest.mark.parametrize(
    ("path", "status", "location"),
    [
        ("/api/v1/jobs/", 307, b"/api/v1/jobs"),
        ("/api/v1/jobs/?limit=1", 307, b"/api/v1/jobs?limit=1"),
        ("/jobs/", 307, b"/jobs"),
        ("/jobs/a%0d%0ax:y/", 307, b"/jobs/a%0d%0ax:y"),
        ("/nowhere/", 404, None),
        ("//evil.example/", 404, None),
        ("//evil.example/jobs/", 404, None),
    ],
)
def test_a_slash_too_many_is_taken_away_without_naming_a_host(
    tmp_path: Path, path: str, status: int, location: bytes | None
) -> None:
    """F1: a redirect that says http:// leads out of a TLS proxy; a path alone does not."""

    async def check() -> None:
        async with served(tmp_path) as port:
            found, answer = await ask(port, f"GET {path} HTTP/1.1\nhost: localhost:{port}")
            assert found == status
            named = [line.partition(b": ")[2] for line in answer.split(b"\r\n") if line.startswith(b"location: ")]
            assert named == ([] if location is None else [location])

    asyncio.run(check())


def test_a_name_that_is_listened_on_is_shown_as_the_address_that_is_bound(tmp_path: Path) -> None:
    """L1: another program may have the name's other address, and gets the token of whoever asks there by the name."""
    at = listen(settings(tmp_path / "y.db", server__listen="localhost:0").server)
    assert at is not None
    with at.listener:
        bound = at.listener.getsockname()
        assert bound[0] == at.host
        assert at.url in {f"http://127.0.0.1:{bound[1]}", f"http://[::1]:{bound[1]}"}
        assert at.own_addresses == ((at.host, bound[1]),)


def test_a_name_of_the_settings_is_answered_to_beside_its_address() -> None:
    """T81: the name may be what clients have."""
    at = AccessRules("10.0.0.5", 8787, name="Jobs.lan", allowed_hosts=(), tokens=())
    hosts = {"jobs.lan:8787": True, "10.0.0.5:8787": True, "10.0.0.5": True, "evil.lan:8787": False}
    for host, is_ours in hosts.items():
        assert (at.judge("GET", "/", [(b"host", host.encode())]) is None) is is_ours


@pytest.mark.parametrize("host", ["255.255.255.255", "224.0.0.1", "240.0.0.1", "[ff02::1]"])
def test_an_address_that_no_client_can_reach_is_refused(tmp_path: Path, host: str) -> None:
    """F4: broadcast and multicast are bound without a word, and nobody connects."""
    chosen = settings(tmp_path / "x.db", server__listen=f"{host}:0", server__token_file=str(token_file(tmp_path)))
    with pytest.raises(UsageError, match="cannot be listened on") as caught:
        listen(chosen.server)
    assert "--listen" in str(caught.value.hint)


@pytest.mark.parametrize("host", ["*", "a..b", "a" * 64, "é", "a b", "256.1.1.1", "[v1.x]", "[::g]", ""])
def test_what_is_no_host_is_refused_as_an_address_to_listen_on(tmp_path: Path, host: str) -> None:
    """F4: a name that no resolver takes was a bug of ours; `*` was bound, and no client could name it."""
    with pytest.raises(UsageError, match="expected an address"):
        settings(tmp_path / "x.db", server__listen=f"{host}:0")
