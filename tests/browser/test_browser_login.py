"""Getting in and out in a real browser: by a link, by the token, from another site, and after the token changed."""

from __future__ import annotations

import http.server
import json
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from browser.browser_world import QUICK, Daemon, a_browser, a_daemon
from faces.client_world import requests
from playwright.sync_api import Browser, FilePayload, Page, expect

TOKEN = "t" * 43


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for all tests of this file."""
    with a_browser() as found:
        yield found


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path: a unix socket lies in it."""
    with tempfile.TemporaryDirectory(prefix="br", ignore_cleanup_errors=True) as path:
        yield Path(path)


@pytest.fixture
def daemon(folder: Path) -> Iterator[Daemon]:
    """A daemon that asks for a token."""
    write_token(folder, TOKEN)
    with a_daemon(folder, SERVER__TOKEN_FILE=str(folder / "token"), **QUICK) as found:
        yield found


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of a browser that is logged in nowhere; an error of its scripts fails the test."""
    context = browser.new_context(viewport={"width": 1360, "height": 860}, accept_downloads=True)
    found = context.new_page()
    errors: list[str] = []
    found.on("pageerror", lambda error: errors.append(str(error)))
    yield found
    context.close()
    assert errors == []


def write_token(folder: Path, token: str) -> None:
    file = folder / "token"
    file.touch(mode=0o600)
    file.write_text(token)


def link(daemon: Daemon, token: str = TOKEN) -> str:
    """What `orchestrator login` prints."""
    headers = {"authorization": f"Bearer {token}"}
    found = httpx2.post(f"{daemon.url}/api/v1/login", headers=headers, timeout=20).raise_for_status().json()
    return f"{found['url']}{found['path']}"


def live(page: Page) -> None:
    """Wait until the page says that it is connected."""
    expect(page.locator("#pulse-text")).to_have_text("live", timeout=15_000)


@contextmanager
def another_site(html: str) -> Iterator[int]:
    """A server on a port of its own whose every page is *html*; gives the port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(html.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def test_a_link_leads_into_a_dashboard_that_works_and_out_again(page: Page, daemon: Daemon, folder: Path) -> None:
    """H2, N 1.18: live parts, an upload, a download and an act all go by the cookie; the code is nowhere to be seen."""
    page.goto(link(daemon))
    assert page.url == f"{daemon.url}/"
    live(page)
    (cookie,) = page.context.cookies()
    assert cookie["name"] == f"orchestrator-{daemon.url.rpartition(':')[2]}"
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["secure"]) == (True, "Strict", False)
    assert TOKEN not in json.dumps(cookie)
    source = folder / "in.jsonl"
    source.write_text("".join(json.dumps(request) + "\n" for request in requests(3)))
    page.goto(f"{daemon.url}/new")
    page.set_input_files("input[type=file]", source)
    page.get_by_role("button", name="Submit").click()
    page.wait_for_url(re.compile(r"/jobs/in-"))
    expect(page.locator("#job-head")).to_contain_text("finished", timeout=20_000)
    with page.expect_download() as download:
        page.get_by_role("link", name=re.compile("results|Download", re.IGNORECASE)).first.click()
    assert len(Path(download.value.path()).read_text().splitlines()) == 3
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("alert")).to_have_text("You are logged out.")
    assert page.context.cookies() == []
    page.goto(f"{daemon.url}/jobs")
    expect(page.get_by_label("Token")).to_be_visible()


@pytest.mark.long
def test_who_logs_out_is_out_in_every_tab(page: Page, daemon: Daemon) -> None:
    """H2: an open page's stream ends with the login that it began under, and the page asks for another."""
    page.goto(link(daemon))
    live(page)
    other = page.context.new_page()
    other.goto(f"{daemon.url}/jobs")
    live(other)
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("alert")).to_have_text("You are logged out.")
    expect(other.get_by_label("Token")).to_be_visible(timeout=15_000)


def test_the_token_opens_the_page_that_was_asked_for(page: Page, daemon: Daemon) -> None:
    """N 1.18: a wrong one is told on the page, without a box of the browser's own."""
    page.goto(f"{daemon.url}/login?code=used")
    expect(page.get_by_role("alert")).to_contain_text("used already")
    answer = page.goto(f"{daemon.url}/events?x=%22%3E%3Cb%3E")
    assert answer is not None
    assert answer.status == 401
    for token, told in (("wrong", "That is not a token"), (f"{TOKEN}x", "That is not a token")):
        page.get_by_label("Token").fill(token)
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("alert")).to_contain_text(told)
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{daemon.url}/events?x=%22%3E%3Cb%3E")
    live(page)
    page.goto(f"{daemon.url}/login?code=used")  # who is in already is not bothered
    page.wait_for_url(f"{daemon.url}/")


@pytest.mark.long
def test_a_link_on_another_sites_page_leads_in_too(page: Page, daemon: Daemon, folder: Path) -> None:
    """H2: a strict cookie is kept back on that visit, the page asks once more; so does the file that --open gives."""
    lead = folder / "open.html"
    lead.write_text(f'<!doctype html><meta http-equiv="refresh" content="0;url={link(daemon)}">')
    page.goto(lead.as_uri())
    page.wait_for_url(f"{daemon.url}/")
    live(page)
    with another_site(f'<a href="{daemon.url}/jobs">jobs</a>') as port:
        page.goto(f"http://localhost:{port}/")  # 127.0.0.1 is another site to a browser
        page.get_by_role("link", name="jobs").click()
        page.wait_for_url(f"{daemon.url}/jobs")
        live(page)


def test_a_page_of_another_port_can_neither_read_nor_act(page: Page, daemon: Daemon) -> None:
    """H2, L11: it is the same site to a browser, which shows our cookie, and lets it set one."""
    page.goto(link(daemon))
    with another_site("<p>not ours</p>") as port:
        page.goto(f"http://127.0.0.1:{port}/")
        asked = """async ([url, how]) => {
            try { return (await fetch(url, {credentials: "include", mode: how.mode, method: how.method})).status; }
            catch { return "refused"; }
        }"""
        for how in ({"mode": "cors", "method": "GET"}, {"mode": "cors", "method": "POST"}):
            assert page.evaluate(asked, [f"{daemon.url}/api/v1/jobs", how]) == "refused"
        with page.expect_response(f"{daemon.url}/logout") as answer:
            page.evaluate(asked, [f"{daemon.url}/logout", {"mode": "no-cors", "method": "POST"}])
        assert answer.value.status == 403
        page.evaluate("document.cookie = 'said=00.Your%20key%20is%20void; path=/'")
    page.goto(f"{daemon.url}/jobs")
    live(page)
    expect(page.locator("main")).not_to_contain_text("Your key is void")


@pytest.mark.long
def test_an_open_page_outlives_a_restart_and_asks_for_a_new_token(page: Page, daemon: Daemon, folder: Path) -> None:
    """H2: a login is not bound to a process, but to the token; who has it no more is led to the login by the page."""
    page.goto(link(daemon))
    page.goto(f"{daemon.url}/jobs")
    live(page)
    daemon.kill()
    expect(page.locator("#pulse-text")).to_contain_text("lost", timeout=15_000)
    daemon.start(SERVER__TOKEN_FILE=str(folder / "token"), **QUICK)
    live(page)
    daemon.kill()
    write_token(folder, "n" * 43)
    daemon.start(SERVER__TOKEN_FILE=str(folder / "token"), **QUICK)
    expect(page.get_by_label("Token")).to_be_visible(timeout=15_000)
    page.get_by_label("Token").fill("n" * 43)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{daemon.url}/jobs")
    live(page)


def dear() -> FilePayload:
    """A file that may cost $160 and a little."""
    params = {"model": "claude-haiku-4-5", "max_tokens": 64_000, "messages": [{"role": "user", "content": "Hello"}]}
    rows = (json.dumps({"custom_id": str(number), "params": params}) for number in range(1000))
    return {"name": "dear.jsonl", "mimeType": "", "buffer": "\n".join(rows).encode()}


@pytest.mark.long
@pytest.mark.parametrize("scripts", [True, False])
def test_what_may_cost_much_is_asked_about(browser: Browser, folder: Path, *, scripts: bool) -> None:
    """The page says what it may cost; there is a job when that is ticked. Without a script the file is chosen again."""
    write_token(folder, TOKEN)
    with a_daemon(folder, (), SERVER__TOKEN_FILE=str(folder / "token")) as daemon:
        entry = browser.new_page()
        entry.goto(link(daemon))
        live(entry)
        context = browser.new_context(java_script_enabled=scripts, storage_state=entry.context.storage_state())
        entry.close()
        page = context.new_page()
        page.goto(f"{daemon.url}/new")
        page.set_input_files("#file", dear())
        expect(page.locator("#confirm")).to_be_hidden()
        if scripts:
            expect(page.locator("#report")).to_contain_text("may cost $", timeout=20_000)
        page.get_by_label("Name").fill("a dear one")
        page.get_by_label("Prompt cache").select_option("off")
        page.locator("#submit").click()
        expect(page.locator("#confirm")).to_contain_text("1,000 requests to claude-haiku-4-5 may cost up to $160.")
        page.get_by_label("confirmed").check()
        if not scripts:
            page.set_input_files("#file", dear())
        page.locator("#submit").click()
        expect(page.locator("h1")).to_contain_text("a dear one")
        expect(page.locator(".said")).to_have_text("submitted")
        context.close()
