"""The token that a daemon makes for itself, and how a browser gets in: by a link, by the token, and out again (H2)."""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import httpx2
import pytest
from faces.client_world import requests, settings, short_runtime_folder

from orchestrator import Orchestrator
from orchestrator.client.remote_commands import login_link
from orchestrator.client.server_address import server_at
from orchestrator.client.transport import ServerTransport, SocketTransport
from orchestrator.config import daemon_socket, default_socket_path, socket_links
from orchestrator.daemon import running_engine
from orchestrator.domain.errors import NeedsPerson, StoreError, UsageError
from orchestrator.http_api.browser_login import place_or_home
from orchestrator.http_api.guard.access_rules import KnownToken
from orchestrator.http_api.guard.access_tokens import CODE_S, SESSION_S, Sessions, digest_of
from orchestrator.http_api.listen import TcpListener, listen, reload_access
from orchestrator.store.location import SqliteLocation

PAGE = {"accept": "text/html,application/xhtml+xml"}
VISIT = {**PAGE, "sec-fetch-site": "none", "sec-fetch-mode": "navigate"}
KEY, OTHER = digest_of("a" * 43), digest_of("b" * 43)


@pytest.fixture(autouse=True)
def _runtime() -> Iterator[None]:
    with short_runtime_folder():
        yield


@asynccontextmanager
async def served(folder: Path, **more: str) -> AsyncIterator[tuple[TcpListener, httpx2.AsyncClient]]:
    """A daemon that asks for a token of its own making, and a client that follows no redirect."""
    database = folder / "x.db"
    chosen = settings(database, **{"server__listen": "127.0.0.1:0", **more})
    at = listen(chosen.server, own_token=SqliteLocation(database).token_file)
    assert at is not None
    async with (
        running_engine(chosen, sandbox=True, tcp=at),
        httpx2.AsyncClient(base_url=at.url, headers=PAGE, timeout=20, trust_env=False) as client,
    ):
        yield at, client


def token_in(folder: Path) -> str:
    return (folder / "x.db.token").read_text().strip()


async def logged_in(at: TcpListener, client: httpx2.AsyncClient) -> str:
    """Follow a link; the value of the cookie, which the client has from now on."""
    answer = await client.get(at.dashboard_link()[1])
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    (name,) = answer.cookies.keys()
    return str(answer.cookies[name])


def test_a_daemon_makes_its_token_once_and_for_its_user_alone(tmp_path: Path) -> None:
    """H2: 0600 whatever the umask, the same at the next start, another one once the file is gone."""
    before = os.umask(0)
    try:
        path = SqliteLocation(tmp_path / "x.db").token_file
        server = settings(tmp_path / "x.db", server__listen="127.0.0.1:0").server
        first, at = listen(server, own_token=path), listen(server, own_token=path)
        assert first is not None
        assert at is not None
        first.listener.close()
        at.listener.close()
        assert path.stat().st_mode & 0o777 == 0o600
        assert first.access.tokens == at.access.tokens == (KnownToken.default(digest_of(token_in(tmp_path))),)
        assert re.fullmatch(r"[A-Za-z0-9_-]{43}\n", path.read_text())
        path.unlink()
        assert reload_access(at, server)
        assert at.access.tokens == (KnownToken.default(digest_of(token_in(tmp_path))),) != first.access.tokens
        assert sorted(each.name for each in tmp_path.iterdir()) == ["x.db.token"]
    finally:
        os.umask(before)


def test_a_token_that_others_could_have_put_there_or_read_is_refused(tmp_path: Path) -> None:
    """H2: a link, a file with another mode, half a token, a folder: none of them is taken for ours, or replaced."""
    server = settings(tmp_path / "x.db", server__listen="127.0.0.1:0").server
    path = SqliteLocation(tmp_path / "x.db").token_file
    (tmp_path / "other").write_text("o" * 43)
    (tmp_path / "other").chmod(0o600)
    for target in ("nowhere", "other"):
        path.symlink_to(tmp_path / target)
        with pytest.raises(UsageError, match="is a link"):
            listen(server, own_token=path)
        assert not (tmp_path / "nowhere").exists()
        path.unlink()
    for text, mode in (("x" * 43, 0o644), ("", 0o600), ("short", 0o600)):
        path.write_text(text)
        path.chmod(mode)
        with pytest.raises(UsageError, match=str(path)):
            listen(server, own_token=path)
        assert path.read_text() == text
    path.unlink()
    with pytest.raises(StoreError, match="cannot be made"):
        listen(server, own_token=tmp_path / "no" / "x.token")


def test_on_loopback_too_every_caller_shows_the_token(tmp_path: Path) -> None:
    """H2: other users of the machine reach the port; they get no prompts, no results, and spend nothing."""

    async def check() -> None:
        async with served(tmp_path) as (_, client):
            for method, path in (("GET", "/api/v1/jobs"), ("POST", "/api/v1/jobs"), ("GET", "/metrics"), ("GET", "/")):
                for headers in ({}, {"authorization": "Bearer " + "x" * 43}, {"cookie": "orchestrator-8787=x"}):
                    assert (await client.request(method, path, headers=headers)).status_code == 401
            assert (await client.get("/livez")).status_code == 200
            for headers in ({"authorization": f"Bearer {token_in(tmp_path)}"}, {"x-api-key": token_in(tmp_path)}):
                assert (await client.get("/api/v1/jobs", headers=headers)).status_code == 200

    asyncio.run(check())


def test_a_link_logs_a_browser_in_once_and_leaves_the_address(tmp_path: Path) -> None:
    """H2: single use; the cookie is a session of its own, out of scripts' reach, for this port's pages alone."""

    async def check() -> None:
        async with served(tmp_path) as (at, client):
            _, path = at.dashboard_link()
            assert (await client.head(path)).status_code == 200  # what only looks at a link does not use it up
            answer = await client.get(path)
            assert (answer.status_code, answer.headers["location"]) == (303, "/")
            assert answer.headers["referrer-policy"] == "no-referrer"
            cookie = SimpleCookie(answer.headers["set-cookie"])
            (name,) = cookie
            assert name == f"orchestrator-{at.url.rpartition(':')[2]}"
            assert (cookie[name]["httponly"], cookie[name]["samesite"].lower()) == (True, "strict")
            assert (cookie[name]["path"], cookie[name]["domain"], cookie[name]["secure"]) == ("/", "", "")
            assert cookie[name]["max-age"] == str(SESSION_S)
            assert token_in(tmp_path) not in answer.headers["set-cookie"]
            page = await client.get("/", headers=VISIT)
            assert page.status_code == 200
            assert 'action="/logout"' in page.text
            assert (await client.get(path)).headers["location"] == "/"  # who is in already is not bothered
            client.cookies.clear()
            again = await client.get(path)
            assert (again.status_code, "used already" in again.text) == (401, True)
            assert "set-cookie" not in again.headers

    asyncio.run(check())


def test_a_browser_without_a_login_gets_a_page_that_leads_on(tmp_path: Path) -> None:
    """N 1.18: no box of the browser's own; the token is typed once, a wrong one is told; nothing leads elsewhere."""

    async def check() -> None:
        async with served(tmp_path) as (at, client):
            page = await client.get("/jobs?state=running")
            assert (page.status_code, page.headers["www-authenticate"]) == (401, 'Bearer realm="orchestrator"')
            assert 'name="next" value="/jobs?state=running"' in page.text
            assert "http-equiv" not in page.text
            assert "script" not in page.headers["content-security-policy"]
            form = {"token": "x" * 43, "next": "/jobs?state=running"}
            own = {"origin": at.url}
            wrong = await client.post("/login", data=form, headers=own)
            assert (wrong.status_code, "not a token" in wrong.text) == (401, True)
            assert 'value="/jobs?state=running"' in wrong.text
            elsewhere = {"origin": "http://127.0.0.1:1"}
            assert (await client.post("/login", data=form, headers=elsewhere)).status_code == 403
            right = await client.post("/login", data={**form, "token": f" {token_in(tmp_path)}\n"}, headers=own)
            assert (right.status_code, right.headers["location"]) == (303, "/jobs?state=running")
            assert (await client.get("/jobs?state=running")).status_code == 200
            assert (await client.get("/login")).headers["location"] == "/"
            assert (await client.post("/login", content=b"x" * 10_000, headers=own)).status_code == 413
            for odd in (b"", b"\xff\xfe", b"token", b"&".join([b"a=1"] * 50)):
                assert (await client.post("/login", content=odd, headers=own)).status_code == 401

    asyncio.run(check())


def test_a_link_of_another_site_is_asked_again_from_our_own_page(tmp_path: Path) -> None:
    """H2: a strict cookie is kept back on such a visit; the page asks once more, and never in a circle."""

    async def check() -> None:
        async with served(tmp_path) as (_, client):
            for site, asks in (("cross-site", True), ("same-site", True), ("same-origin", False), ("none", False)):
                page = await client.get("/jobs", headers={**VISIT, "sec-fetch-site": site})
                assert ('http-equiv="refresh"' in page.text) is asks, site

    asyncio.run(check())


@pytest.mark.parametrize(
    "place",
    ["", "//evil.example", "/\\evil.example", "https://evil.example", "/x\\y", "/a b", "/a\nb", "/login?x", "x", "/é"],
)
def test_a_login_leads_to_a_page_of_ours_and_nowhere_else(place: str) -> None:
    """H2: an open redirect would lend our name to another site."""
    assert place_or_home(place) == "/"
    assert place_or_home("/jobs/a%2Fb?tab=events&q=x[1]") == "/jobs/a%2Fb?tab=events&q=x[1]"


@pytest.mark.parametrize(
    ("method", "path", "headers", "counts"),
    [
        ("GET", "/api/v1/jobs", {"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}, True),
        ("GET", "/jobs", {"sec-fetch-site": "none", "sec-fetch-mode": "navigate"}, True),
        ("GET", "/jobs", {"sec-fetch-site": "same-site", "sec-fetch-mode": "navigate"}, True),
        ("GET", "/api/v1/jobs", {"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors"}, False),
        ("GET", "/api/v1/jobs", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}, False),
        ("POST", "/api/v1/check", {"origin": "{url}", "sec-fetch-site": "same-origin"}, True),
        ("POST", "/api/v1/check", {"origin": "{url}"}, True),
        ("POST", "/api/v1/check", {}, False),
        ("POST", "/api/v1/check", {"sec-fetch-site": "same-site", "sec-fetch-mode": "navigate"}, False),
        ("DELETE", "/api/v1/jobs/x", {}, False),
        ("GET", "/v1/messages/batches", {}, False),
        ("GET", "/v1/messages/batches/x/results", {"sec-fetch-site": "same-origin"}, False),
        ("POST", "/api/v1/login", {"origin": "{url}", "sec-fetch-site": "same-origin"}, False),
    ],
)
def test_a_cookie_counts_where_our_own_pages_ask(
    tmp_path: Path, method: str, path: str, headers: dict[str, str], counts: bool
) -> None:
    """H2: a browser shows it to every port of the host, and for every port's pages; the SDK's routes need none."""

    async def check() -> None:
        async with served(tmp_path) as (at, client):
            await logged_in(at, client)
            told = {name: value.format(url=at.url) for name, value in headers.items()}
            answer = await client.request(method, path, headers=told)
            assert (answer.status_code not in (401, 403)) is counts

    asyncio.run(check())


def test_whoever_logs_out_is_out_and_a_copy_of_the_cookie_as_well(tmp_path: Path) -> None:
    """H2, N 1.18: only by a POST of our own page; the session is over, not only the browser's cookie."""

    async def check() -> None:
        async with served(tmp_path) as (at, client):
            cookie = await logged_in(at, client)
            assert (await client.get("/logout")).status_code == 405
            assert (await client.post("/logout", headers={"origin": "http://127.0.0.1:1"})).status_code == 403
            assert (await client.post("/logout")).headers["location"] == "/login?out=1"
            assert (await client.get("/jobs")).status_code == 200  # nobody's page asked: it is still logged in
            out = await client.post("/logout", headers={"origin": at.url})
            assert (out.status_code, out.headers["location"]) == (303, "/login?out=1")
            assert "logged out" in (await client.get("/login?out=1")).text
            name = f"orchestrator-{at.url.rpartition(':')[2]}"
            assert (await client.get("/jobs", headers={"cookie": f"{name}={cookie}"})).status_code == 401

    asyncio.run(check())


def test_whoever_logged_out_is_out_after_a_restart_too(tmp_path: Path) -> None:
    """H2: the end of a session is written at once, for its user alone; other sessions go on."""

    async def check() -> None:
        async with served(tmp_path) as (at, client):
            ended, kept = [await logged_in(at, client), await logged_in(at, client)]
            port = at.url.rpartition(":")[2]
            name = f"orchestrator-{port}"
            client.cookies.clear()
            out = await client.post("/logout", headers={"origin": at.url, "cookie": f"{name}={ended}"})
            assert out.status_code == 303
            file = SqliteLocation(tmp_path / "x.db").logged_out_file(int(port))
            assert file.stat().st_mode & 0o777 == 0o600
            assert not any(part in file.read_text() for part in (ended, ended.split(".")[2], token_in(tmp_path)))
        async with served(tmp_path, server__listen=f"127.0.0.1:{port}") as (at, client):
            for cookie, status in ((ended, 401), (kept, 200)):
                assert (await client.get("/jobs", headers={"cookie": f"{name}={cookie}"})).status_code == status

    asyncio.run(check())


def test_ended_logins_are_forgotten_when_their_week_is_over(tmp_path: Path) -> None:
    """H2: the file stays small; one that cannot be read is told, and a line that is none is left out."""
    now = [1e9]
    file = tmp_path / "x.db.logged-out"
    logins = Sessions(8787, now=lambda: now[0])
    logins.over.keep_at(file)
    logins.end("a" * 43)
    now[0] += SESSION_S
    logins.end("b" * 43)
    assert file.read_text() == f"{int(now[0]) + SESSION_S} {'b' * 43}\n"
    assert [each.name for each in tmp_path.iterdir()] == [file.name]
    file.write_bytes(b"\xff nonsense\n" + file.read_bytes())
    again = Sessions(8787)
    again.over.keep_at(file)
    assert ("b" * 43 in again.over, "nonsense" in again.over) == (True, False)
    with pytest.raises(UsageError, match="cannot be read"):
        again.over.keep_at(tmp_path)


def test_a_login_outlives_a_restart_and_dies_with_the_token(tmp_path: Path) -> None:
    """H2: an open page goes on after `kill -9`; who replaces the token shuts everybody out, links included."""

    async def check() -> None:
        async with served(tmp_path) as (at, client):
            cookie = await logged_in(at, client)
            port = at.url.rpartition(":")[2]
        async with served(tmp_path, server__listen=f"127.0.0.1:{port}") as (at, client):
            shown = {"cookie": f"orchestrator-{port}=nonsense; orchestrator-{port}={cookie}"}
            assert (await client.get("/jobs", headers=shown)).status_code == 200
            _, link = at.dashboard_link()
            SqliteLocation(tmp_path / "x.db").token_file.unlink()
            assert reload_access(at, settings(tmp_path / "x.db", server__listen=f"127.0.0.1:{port}").server)
            assert (await client.get("/jobs", headers=shown)).status_code == 401
            assert (await client.get(link)).status_code == 401

    asyncio.run(check())


def test_wrong_tokens_are_looked_at_ten_times_a_minute_and_a_link_still_opens(tmp_path: Path) -> None:
    """H2: guessing is bounded; and whoever floods the page does not shut the owner out, who has a link."""

    async def check() -> None:
        async with served(tmp_path) as (at, client):
            own = {"origin": at.url}
            for _ in range(10):
                wrong = await client.post("/login", data={"token": "x" * 43}, headers=own)
                assert wrong.status_code == 401
            right = await client.post("/login", data={"token": token_in(tmp_path)}, headers=own)
            assert (right.status_code, int(right.headers["retry-after"]) in range(1, 61)) == (429, True)
            assert (await client.get("/login?code=x")).status_code == 401
            await logged_in(at, client)
            assert (await client.get("/jobs")).status_code == 200

    asyncio.run(check())


def test_old_links_that_anybody_opens_keep_nobody_with_the_token_out(tmp_path: Path) -> None:
    """H2: a link needs no page of ours to be opened; wrong codes are counted by themselves."""

    async def check() -> None:
        async with served(tmp_path) as (at, client):
            answers = [await client.get("/login?code=x") for _ in range(12)]
            assert [answer.status_code for answer in answers] == [401] * 10 + [429] * 2
            assert "old links" in answers[-1].text
            form = {"token": token_in(tmp_path)}
            assert (await client.post("/login", data=form, headers={"origin": at.url})).status_code == 303
            client.cookies.clear()
            await logged_in(at, client)

    asyncio.run(check())


def test_behind_tls_the_cookie_is_for_tls_alone(tmp_path: Path) -> None:
    """H2, F1: a proxy on this machine says how it was asked; the name has the port that the browser sees."""

    async def check() -> None:
        async with served(tmp_path, server__public_url="https://batches.example.com") as (at, client):
            base, path = at.dashboard_link()
            assert base == "https://batches.example.com"
            outside = {"host": "batches.example.com", "x-forwarded-proto": "https"}
            answer = await client.get(path, headers=outside)
            cookie = SimpleCookie(answer.headers["set-cookie"])
            assert answer.headers["location"] == "/"
            assert cookie["orchestrator-default"]["secure"] is True

    asyncio.run(check())


def test_a_daemon_without_a_token_sends_everybody_from_the_login_to_the_dashboard(tmp_path: Path) -> None:
    """H2: `serve --sandbox` and --no-token ask for none; there is nothing to log in to, and nothing to log out of."""

    async def check() -> None:
        chosen = settings(tmp_path / "x.db", server__listen="127.0.0.1:0")
        at = listen(chosen.server)
        assert at is not None
        async with (
            running_engine(chosen, sandbox=True, tcp=at),
            httpx2.AsyncClient(base_url=at.url, headers=PAGE, trust_env=False) as client,
        ):
            assert at.dashboard_link() == (at.url, "/")
            for answer in (await client.get("/login"), await client.get("/login?code=x"), await client.post("/logout")):
                assert (answer.status_code, answer.headers["location"]) == (303, "/")
            assert "/logout" not in (await client.get("/")).text
            link = (await client.post("/api/v1/login")).json()
            assert link == {"url": at.url, "path": "/", "expires_in_s": None}

    asyncio.run(check())


def test_a_fresh_link_is_had_by_the_socket_and_with_the_token(tmp_path: Path) -> None:
    """H2: what `orchestrator login` prints; over TCP the token is asked for, and the login of a browser is none."""

    async def check() -> None:
        async with served(tmp_path) as (at, client):
            url, path, expires_in_s = await login_link(
                SocketTransport(default_socket_path(tmp_path / "x.db", os.environ))
            )
            assert (url, expires_in_s) == (at.url, CODE_S)
            assert (await client.get(path)).status_code == 303
            bearer = {"authorization": f"Bearer {token_in(tmp_path)}"}
            more = (await client.post("/api/v1/login", headers=bearer)).json()
            assert more["path"] != path

    asyncio.run(check())


def test_a_client_of_the_same_user_needs_no_token_and_shows_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """H2: `--server` with the address of one's own daemon goes to its socket; another address of it does not."""
    monkeypatch.delenv("ORCHESTRATOR_SERVER_TOKEN", raising=False)
    monkeypatch.delenv("ORCHESTRATOR_TOKEN_FILE", raising=False)

    async def check() -> None:
        async with served(tmp_path) as (at, _):
            port = at.url.rpartition(":")[2]
            for address in (at.url, f"{at.url}/", f"http://localhost:{port}", f"http://LOCALHOST:{port}"):
                server = await asyncio.to_thread(server_at, address)
                assert (server.token, server.socket is None) == (None, False)
                async with ServerTransport(server).client() as client:
                    assert (await client.get("jobs")).status_code == 200
            async with Orchestrator(server=at.url) as orc:
                job = await orc.submit(requests(2), name="two")
                await job.wait()
                assert [result.custom_id async for result in job.results()] == ["r0", "r1"]
            for address in (
                f"https://localhost:{port}",
                f"http://127.0.0.1:{port}/x",
                "http://127.0.0.1:1",
                "http://[::1]:1",
            ):
                assert (await asyncio.to_thread(server_at, address)).socket is None
        assert server_at(at.url).socket is None

    asyncio.run(check())


def test_a_token_that_is_given_counts_at_a_daemon_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """H2: shown over TCP, and refused if it is wrong; one of the environment is not needed, and goes nowhere."""
    wrong = "x" * 43
    (tmp_path / "wrong").write_text(wrong)
    (tmp_path / "wrong").chmod(0o600)

    async def status(at: TcpListener, **given: Any) -> int:
        async with ServerTransport(await asyncio.to_thread(server_at, at.url, **given)).client() as client:
            return (await client.get("jobs")).status_code

    async def check() -> None:
        async with served(tmp_path) as (at, _):
            assert await status(at, token=token_in(tmp_path)) == 200
            assert await status(at, token_file=tmp_path / "x.db.token") == 200
            assert await status(at, token=wrong) == 401
            assert await status(at, token_file=tmp_path / "wrong") == 401
            with pytest.raises(NeedsPerson, match="argument `token`"):
                async with Orchestrator(server=at.url, token=wrong):
                    pass
            monkeypatch.setenv("ORCHESTRATOR_SERVER_TOKEN", wrong)
            server = await asyncio.to_thread(server_at, at.url)
            assert (server.token, server.socket is None) == (None, False)
            assert await status(at) == 200

    asyncio.run(check())


def test_an_address_that_a_killed_daemon_had_leads_nowhere(tmp_path: Path) -> None:
    """H2: what it left behind is not taken for a daemon; its next life, which listens elsewhere, takes it away."""
    first, second = tmp_path / "a.sock", tmp_path / "b.sock"
    env = {"XDG_RUNTIME_DIR": str(tmp_path)}

    def at(port: int) -> str | None:
        link = tmp_path / f"orchestrator-at-127.0.0.1-{port}"
        return str(link.readlink()) if link.is_symlink() else None

    with socket_links(first, ("127.0.0.1", 1), ("127.0.0.1", 2)):
        with socket_links(first, ("127.0.0.1", 2)):
            assert (at(1), at(2)) == (None, "a.sock")
            with socket_links(second, ("127.0.0.1", 2)):
                assert at(2) == "b.sock"
        assert at(2) is None
    assert daemon_socket(("127.0.0.1", 2), env) is None
    with short_runtime_folder() as folder, socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(folder / "c.sock"))
        with socket_links(folder / "c.sock", ("127.0.0.1", 3)):
            assert daemon_socket(("127.0.0.1", 3), os.environ) is not None
            assert server_at("http://127.0.0.1:3").socket is None
            killed.listen(1)
            assert server_at("http://127.0.0.1:3").socket is not None


def test_codes_and_sessions_end_by_time() -> None:
    """H2: a link within ten minutes, a session within a week, for one port and one token each."""
    now, ticks = [1e9], [5.0]
    logins = Sessions(8787, now=lambda: now[0], ticks=lambda: ticks[0])
    logins.keep(b"of the store")
    fresh, late, other = logins.new_code(KEY), logins.new_code(KEY), logins.new_code(KEY)
    assert not logins.redeem(other, [OTHER])
    assert not logins.redeem(other, [KEY])  # it was shown, and is used up
    ticks[0] += CODE_S - 1
    assert [logins.redeem(fresh, [OTHER, KEY]), logins.redeem(fresh, [KEY])] == [KEY, None]
    ticks[0] += 1
    assert not logins.redeem(late, [KEY])
    cookie = logins.begin(KEY)
    assert logins.find(cookie, KEY) is not None
    assert logins.find(cookie, OTHER) is None
    again, elsewhere, stranger = (Sessions(port, now=lambda: now[0]) for port in (8787, 8788, 8787))
    again.keep(b"of the store")
    elsewhere.keep(b"of the store")
    assert again.find(cookie, KEY) == logins.find(cookie, KEY)
    assert elsewhere.find(cookie, KEY) is None
    assert stranger.find(cookie, KEY) is None  # the digest of a token, which settings hold, makes no login
    until, number, mac = cookie.split(".")
    for forged in (
        f"{int(until) + 1}.{number}.{mac}",
        f"{until}.{number[::-1]}.{mac}",
        f"{until}.{number}.",
        "",
        "x" * 300,
    ):
        assert logins.find(forged, KEY) is None
    now[0] += SESSION_S
    assert logins.find(cookie, KEY) is None


def test_only_the_newest_links_are_open() -> None:
    """H2: whoever may ask for links cannot fill the memory with them."""
    logins = Sessions(8787)
    codes = [logins.new_code(KEY) for _ in range(50)]
    assert sum(logins.redeem(code, [KEY]) is not None for code in codes) == 20
