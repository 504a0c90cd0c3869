"""The dashboard in a real browser: it lives without a reload, survives its daemon, and leaves nobody waiting."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser.browser_world import QUICK, SLOW, Daemon, a_browser, a_daemon, until
from faces.client_world import requests
from playwright.sync_api import Browser, Page, expect


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
def page(browser: Browser) -> Iterator[Page]:
    """A page; an error of its scripts fails the test."""
    context = browser.new_context(viewport={"width": 1360, "height": 860})
    found = context.new_page()
    errors: list[str] = []
    found.on("pageerror", lambda error: errors.append(str(error)))
    yield found
    context.close()
    assert errors == []


def live(page: Page) -> None:
    """Wait until the page says that it is connected."""
    expect(page.locator("#pulse-text")).to_have_text("live", timeout=15_000)


def test_a_page_follows_a_job_to_its_end_without_a_reload(browser: Browser, page: Page, folder: Path) -> None:
    """What moves is shown as it moves; the page is never loaded again, and asks nobody else for anything."""
    with a_daemon(folder, **QUICK) as daemon:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(daemon.url)
        live(page)
        expect(page.locator("#newest")).to_contain_text("No job yet")
        assert [url for url in asked if "/live" in url] == [f"{daemon.url}/live?at=/"]
        page.evaluate("window.same = true")
        daemon.submit(requests(30), name="thirty")
        expect(page.locator("#newest")).to_contain_text("thirty", timeout=15_000)
        expect(page.locator("#newest")).to_contain_text("finished", timeout=20_000)
        expect(page.locator("#tiles")).to_contain_text("of 30")
        assert page.evaluate("window.same") is True
        page.goto(f"{daemon.url}/jobs/thirty")
        live(page)
        expect(page.locator("#job-head")).to_contain_text("finished: 30 requests, all succeeded")
        assert [url for url in asked if not url.startswith(daemon.url)] == []


@pytest.mark.long
def test_a_page_reconnects_by_itself_after_its_daemon_was_killed(page: Page, folder: Path) -> None:
    """Kill -9 and a new start: nothing is lost, and an open page is true again without a reload."""
    with a_daemon(folder, **SLOW) as daemon:
        daemon.submit(requests(5), name="five")
        page.goto(f"{daemon.url}/jobs")
        live(page)
        page.evaluate("window.same = true")
        daemon.kill()
        expect(page.locator("#pulse-text")).to_contain_text("lost", timeout=15_000)
        daemon.start(**QUICK)
        live(page)
        expect(page.locator("#rows")).to_contain_text("finished", timeout=20_000)
        assert page.evaluate("window.same") is True


@pytest.mark.long
def test_a_page_pauses_by_its_button_and_while_nobody_looks(page: Page, folder: Path) -> None:
    """A page that nobody looks at costs the daemon nothing; what happened meanwhile is shown when one looks again."""
    with a_daemon(folder, **SLOW) as daemon:
        page.goto(f"{daemon.url}/jobs")
        live(page)
        page.locator("#pause").click()
        expect(page.locator("#pulse-text")).to_have_text("paused")
        daemon.submit(requests(2), name="unseen")
        page.wait_for_timeout(1500)  # as long as three updates would take
        expect(page.locator("#rows")).not_to_contain_text("unseen")
        page.keyboard.press("p")
        expect(page.locator("#rows")).to_contain_text("unseen", timeout=10_000)
        page.evaluate(HIDE)
        daemon.submit(requests(3), name="hidden")
        page.wait_for_timeout(1500)
        expect(page.locator("#rows")).not_to_contain_text("hidden")
        page.evaluate(SHOW)
        expect(page.locator("#rows")).to_contain_text("hidden", timeout=10_000)


#: What a browser does when the tab goes to the back and comes again.
HIDE = """() => { Object.defineProperty(document, "hidden", {configurable: true, get: () => true});
  document.dispatchEvent(new Event("visibilitychange")); }"""
SHOW = """() => { Object.defineProperty(document, "hidden", {configurable: true, get: () => false});
  document.dispatchEvent(new Event("visibilitychange")); }"""


def drop(page: Page, name: str, body: str) -> None:
    """Drop a file on the page, as a hand would."""
    transfer = page.evaluate_handle(
        "([name, body]) => { const all = new DataTransfer(); all.items.add(new File([body], name)); return all; }",
        [name, body],
    )
    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})


def lines(count: int, **params: Any) -> str:
    """A file of requests."""
    return "".join(f"{json.dumps({**each, 'params': {**each['params'], **params}})}\n" for each in requests(count))


def test_a_file_that_is_dropped_becomes_a_job(page: Page, folder: Path) -> None:
    """Dropped, previewed, checked, submitted: the page goes on to the job."""
    with a_daemon(folder, **QUICK) as daemon:
        page.goto(f"{daemon.url}/new")
        expect(page.locator("#submit")).to_be_disabled()
        expect(page.locator("#why")).to_have_text("not yet: choose a file, or paste a text")
        drop(page, "dropped.jsonl", lines(7))
        expect(page.locator("#report pre").first).to_contain_text("hello 0")
        expect(page.locator("#progress")).not_to_contain_text("checking", timeout=10_000)
        page.get_by_label("Cap").fill("$10")
        page.locator("#submit").click()
        page.wait_for_url(re.compile(r"/jobs/dropped-"))
        expect(page.locator("#job-head")).to_contain_text("dropped")
        assert daemon.job("dropped")["requests"]["total"] == 7
        assert daemon.job("dropped")["cost"]["cap"] == "10.000000000"
        drop_bad(page, daemon)


def drop_bad(page: Page, daemon: Daemon) -> None:
    """Bad lines are told by cause; nothing is submitted while nothing can be, or nobody said that they are left out."""
    page.goto(f"{daemon.url}/new")
    bad = '{"custom_id": 7, "params": {}}\n' * 3
    drop(page, "bad.jsonl", bad)
    expect(page.locator("#why")).to_have_text("not yet: nothing in it can be sent", timeout=10_000)
    expect(page.locator("#report li").first).to_contain_text("3 lines have it (1, 2, 3)")
    page.get_by_text("or paste a text").click()
    text = page.get_by_label("Text", exact=True)
    text.fill("a kettle that whistles")
    expect(page.locator("#why")).to_contain_text("choose beside “It is” what the pasted text is", timeout=10_000)
    text.fill("name,review\nkettle,it whistles\n")
    expect(page.get_by_label("It is")).to_have_value("csv")
    text.fill(lines(2) + bad)
    expect(page.locator("#why")).to_contain_text("tick that they are left out", timeout=10_000)
    expect(page.locator("#submit")).to_be_disabled()
    page.get_by_label("leave bad lines out").check()
    page.locator("#submit").click()
    page.wait_for_url(re.compile(r"/jobs/pasted-"))
    assert daemon.job("pasted")["requests"]["total"] == 2


def test_acts_are_asked_about_and_done(page: Page, folder: Path) -> None:
    """Picked jobs are canceled after a question; a pause is one click."""
    with a_daemon(folder, **SLOW) as daemon:
        for name in ("one", "two"):
            daemon.submit(requests(2, said=name), name=name)
        page.goto(f"{daemon.url}/jobs/one")
        page.get_by_role("button", name="Pause", exact=True).click()
        expect(page.locator("#job-head")).to_contain_text("paused")
        page.goto(f"{daemon.url}/jobs")
        live(page)
        for box in page.locator("input[name=job]").all():
            box.check()
        daemon.submit(requests(2, said="three"), name="three")
        expect(page.locator("#rows")).to_contain_text("three", timeout=10_000)
        expect(page.locator("input[name=job]:checked")).to_have_count(2)
        page.get_by_role("button", name="Cancel").click()
        expect(page.locator("h1")).to_have_text("Cancel 2 jobs?")
        page.get_by_role("button", name="Cancel").click()
        expect(page.locator(".said")).to_contain_text("2 jobs canceled")
        until(lambda: daemon.job("three")["state"] == "running")


@pytest.mark.long
def test_everything_is_reached_by_keys_and_the_filter_stands_in_the_address(page: Page, folder: Path) -> None:
    """Search, rows, screens, help and theme without a mouse; a link to a filter shows the same again."""
    with a_daemon(folder, **SLOW) as daemon:
        for name in ("apple", "pear"):
            daemon.submit(requests(2, said=name), name=name)
        page.goto(daemon.url)
        page.keyboard.press("g")
        page.keyboard.press("j")
        page.wait_for_url(f"{daemon.url}/jobs")
        page.keyboard.press("/")
        page.keyboard.type("app")
        page.wait_for_url(f"{daemon.url}/jobs?q=app")
        expect(page.locator("[data-row]")).to_have_count(1)
        daemon.submit(requests(1, said="late"), name="apple pie")  # what is looked for is followed live, too
        expect(page.locator("[data-row]")).to_have_count(2, timeout=10_000)
        daemon.submit(requests(1, said="later"), name="plum")
        page.locator("#q").fill("apple pie")
        expect(page.locator("[data-row]")).to_have_count(1)
        page.goto(f"{daemon.url}/jobs?q=app")
        page.locator(".chip", has_text="running").click()
        page.wait_for_url(f"{daemon.url}/jobs?q=app&state=running")
        page.keyboard.press("j")
        page.keyboard.press("j")
        expect(page.locator("[data-row].on")).to_have_count(1)
        page.keyboard.press("Enter")
        page.wait_for_url(re.compile("/jobs/apple-"))
        page.keyboard.press("?")
        expect(page.locator("#help")).to_be_visible()
        page.keyboard.press("Escape")
        page.keyboard.press("t")
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"
        page.reload()
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"
        page.goto(f"{daemon.url}/jobs/apple/requests/1")
        page.keyboard.press("]")
        page.wait_for_url(re.compile("/requests/2$"))


def test_without_javascript_everything_is_read_and_done(browser: Browser, folder: Path) -> None:
    """A page is whole as it arrives: links, forms, a file."""
    with a_daemon(folder, **SLOW) as daemon:
        context = browser.new_context(java_script_enabled=False)
        page = context.new_page()
        page.goto(f"{daemon.url}/new")
        page.set_input_files("#file", {"name": "plain.jsonl", "mimeType": "", "buffer": lines(3).encode()})
        page.locator("#submit").click()
        expect(page.locator("h1")).to_contain_text("plain")
        page.get_by_role("link", name="events", exact=True).click()
        expect(page.locator("#job-tab")).to_contain_text("the job was made")  # nothing reloads it for later ones
        page.get_by_role("link", name="Cancel").click()
        page.get_by_role("button", name="Cancel").click()
        expect(page.locator(".said")).to_have_text("1 job canceled")
        context.close()


def test_every_control_has_a_name_and_a_narrow_screen_shows_all(browser: Browser, folder: Path) -> None:
    """What is only drawn is also said, and nothing reaches beyond the edge of a telephone."""
    with a_daemon(folder, **SLOW) as daemon:
        daemon.submit(requests(3), name="a-job-with-a-name-that-is-longer-than-a-telephone-is-wide")
        context = browser.new_context(viewport={"width": 390, "height": 800})
        page = context.new_page()
        paths = (
            "/",
            "/jobs",
            "/jobs/@last",
            "/jobs/@last/requests/1",
            "/batches",
            "/events",
            "/new",
            "/health",
            "/webhooks",
            "/settings",
        )
        for path in paths:
            page.goto(daemon.url + path)
            assert (path, page.evaluate("document.documentElement.scrollWidth")) == (path, 390)
            assert (path, re.findall(r"(?m)- (?:button|link|textbox|checkbox|searchbox)(?=:|$)", tree(page))) == (
                path,
                [],
            )
            assert (path, page.locator("h1").count(), page.locator("main").count()) == (path, 1, 1)
        context.close()


@pytest.mark.long
def test_what_was_spent_is_seen_and_said_on_a_telephone_too(browser: Browser, folder: Path) -> None:
    """In dollars where the price is known, as a question mark with its reason where it is not."""
    with a_daemon(folder, **QUICK) as daemon:
        known = json.loads(lines(1).splitlines()[0])
        unknown = {"custom_id": "x", "params": {**known["params"], "model": "claude-mythos-5-1"}}
        daemon.submit([known, unknown], name="half")
        until(lambda: daemon.job("half")["state"] == "finished")
        for theme in ("light", "dark"):
            context = browser.new_context(viewport={"width": 390, "height": 800}, color_scheme=theme)
            page = context.new_page()
            for path in ("/", "/jobs", "/jobs/@last", "/jobs/@last/requests/2"):
                page.goto(daemon.url + path)
                assert (path, page.evaluate("document.documentElement.scrollWidth")) == (path, 390)
                assert (path, "not known" in tree(page) or "at least" in tree(page)) == (path, True)
            page.goto(f"{daemon.url}/jobs/@last")
            expect(page.locator("#job-cost")).to_contain_text("1 answer without a price")
            expect(page.locator("#job-tab .unknown")).to_have_count(1)
            context.close()


def tree(page: Page) -> str:
    """The page as a screen reader has it: a role, and its name in quotes."""
    return page.locator("body").aria_snapshot()
